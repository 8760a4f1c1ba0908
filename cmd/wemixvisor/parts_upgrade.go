package main

import (
	"context"
	"errors"
	"os"

	"github.com/wemix/wemixvisor/backup"
	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/upgrade"
)

// buildUpgrades makes what replaces the node's binary.
func (p *parts) buildUpgrades() {
	s := p.s
	p.snapshots = backup.NewSnapshotter(backup.SnapshotterConfig{Tree: p.tree()})
	p.repo = backup.NewRepo(backup.RepoConfig{
		Dir: s.dataBackupDir, Program: version,
		NodeRuns: func() bool { return p.supervisor.Status().Pid != 0 },
	})
	p.queue = upgrade.NewQueue(upgrade.QueueConfig{
		Home: p.home, Data: s.dataDir, Interval: s.pollInterval, Logger: p.log("upgrade"),
		OnProblem: p.happened.badPlan,
	})
	c := upgradeConfig(s, p.home)
	c.Bundled, c.Reaper, c.Node, c.Queue, c.Snapshots = p.image, p.reaper, p.supervisor, p.queue, p.snapshots
	c.Logger = p.log("upgrade")
	c.Facts, c.Forks, c.Archive = p.facts, p.forks, p.archive
	c.WaitHeight = func(ctx context.Context, height uint64) error {
		_, err := p.follower.WaitHeight(ctx, height)
		return err
	}
	c.OnEvent = func(e upgrade.Event) {
		p.observer.upgraded(e)
		p.hub.Publish(api.TopicUpgrade, e)
	}
	c.OnSwitch = func(_ string, d upgrade.Downtime) { p.observer.downtime.observe(d.Total().Seconds()) }
	c.OnRefused = p.happened.refusedPlan
	p.upgrader = upgrade.New(c)
	p.happened.upgrader = p.upgrader
}

// upgradeConfig is what the settings say of upgrades.
func upgradeConfig(s *settings, home upgrade.Home) upgrade.Config {
	return upgrade.Config{
		Home: home, Data: s.dataDir, Version: version, Env: nodeEnv(os.Environ()),
		PollInterval: s.pollInterval, ImagePolicy: s.imagePolicy, Rollback: s.rollback,
		SkipBackup: s.skipBackup, LeaveAfter: !s.restartAfterUpgrade, RestartDelay: s.restartDelay,
		ConfirmTimeout: s.confirmTimeout, ConfirmTime: s.confirmTime, ConfirmBlocks: uint64(s.confirmBlocks), MaxLag: uint64(s.alertMaxLag),
		CustomPreupgrade: s.customPreupgrade, PreupgradeSubcommand: s.preupgradeSubcommand,
		PreupgradeMaxRetries: s.preupgradeMaxRetries, PreupgradeTimeout: s.preupgradeTimeout,
		AllowDownload: s.allowDownload, AllowNoChecksum: s.skipChecksum, SnapshotKeep: s.snapshotKeep,
	}
}

// tree is the node's data without what is ours.
func (p *parts) tree() backup.Tree {
	return backup.Tree{Root: p.s.dataDir, Own: []string{p.home.Dir(), p.s.dataBackupDir}}
}

// facts is what upgrades need to know of the chain.
func (p *parts) facts() upgrade.Facts {
	f := p.follower.Facts()
	return upgrade.Facts{
		Started: f.Started, FirstAnswer: f.FirstAnswer, LastAnswer: f.LastAnswer,
		Height: f.Head.Number, Hash: f.Head.Hash, Time: f.Head.Time, Seen: f.Head.Seen,
		Known: f.Head.Known(), HeadKnown: f.HeadKnown, Highest: f.Highest,
		Client: f.Client, ChainID: f.ChainID, Genesis: f.Genesis,
	}
}

var errForksUnknown = errors.New("the node has not told its forks yet")

// forks are those that the running binary knows.
func (p *parts) forks(context.Context) ([]upgrade.Fork, error) {
	c := p.follower.Consensus()
	if !c.Known {
		return nil, errForksUnknown
	}
	var forks []upgrade.Fork
	for _, f := range c.Forks {
		forks = append(forks, upgrade.Fork{Name: f.Name, Height: f.Block, Time: f.Time})
	}
	return forks, nil
}

// archive makes an archive of the data before an upgrade.
func (p *parts) archive(ctx context.Context, snap backup.Snapshot) (string, error) {
	info, err := p.repo.Create(ctx, backup.Source{
		Tree: backup.Tree{Root: snap.Root}, Live: p.s.dataDir,
	}, backup.CreateOptions{Reason: "upgrade", Upgrade: snap.Origin.Upgrade, Origin: snap.Origin, AllowPartial: snap.Partial != ""})
	return info.ID, err
}

// upgrades applies plans once the volume is ours. Without the supervisor's Run
// there would be nobody to wait for.
func (p *parts) upgrades(ctx context.Context) error {
	if !p.wait(ctx) {
		return nil
	}
	return p.upgrader.Run(ctx)
}

// plans looks for plans once what lay there before has been recovered.
func (p *parts) plans(ctx context.Context) error {
	if !p.wait(ctx) {
		return nil
	}
	return p.queue.Run(ctx)
}
