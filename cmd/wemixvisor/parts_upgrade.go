package main

import (
	"context"
	"os"
	"time"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/probe/chain"
	"github.com/wemix/wemixvisor/upgrade"
)

// pollFloor bounds how often the volume is looked at: a look is a handful of
// system calls.
const pollFloor = 10 * time.Millisecond

// buildUpgrades makes what replaces the node's binary.
func (p *parts) buildUpgrades() {
	s := p.s
	p.queue = upgrade.NewQueue(upgrade.QueueConfig{
		Home: p.home, Data: s.dataDir, Interval: max(s.pollInterval, pollFloor), Logger: p.log("upgrade"),
		OnProblem: p.happened.badPlan,
	})
	c := upgradeConfig(s, p.home)
	c.Bundled, c.Reaper, c.Node, c.Queue, c.Snapshots = p.image, p.reaper, p.supervisor, p.queue, p.snapshots
	c.Logger = p.log("upgrade")
	c.Facts = func() upgrade.Facts { return factsOf(p.follower.Facts()) }
	c.Forks, c.Archive = p.forks, p.backups.Archive
	c.Gate = p.gate()
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
		ValidatorMode: s.validatorMode,
		PollInterval:  max(s.pollInterval, pollFloor), ImagePolicy: s.imagePolicy, Rollback: s.rollback,
		SkipBackup: s.skipBackup, LeaveAfter: !s.restartAfterUpgrade, RestartDelay: s.restartDelay,
		ConfirmTimeout: s.confirmTimeout, ConfirmTime: s.confirmTime, ConfirmBlocks: uint64(s.confirmBlocks), MaxLag: uint64(s.alertMaxLag),
		CustomPreupgrade: s.customPreupgrade, PreupgradeSubcommand: s.preupgradeSubcommand,
		PreupgradeMaxRetries: s.preupgradeMaxRetries, PreupgradeTimeout: s.preupgradeTimeout,
		AllowDownload: s.allowDownload, AllowNoChecksum: s.skipChecksum, SnapshotKeep: s.snapshotKeep, Floor: s.backupMinFree, RequireArchive: s.backupRequireArchive,
	}
}

// factsOf is what upgrades and backups need to know of the chain.
func factsOf(f chain.Facts) upgrade.Facts {
	return upgrade.Facts{
		Started: f.Started, FirstAnswer: f.FirstAnswer, LastAnswer: f.LastAnswer,
		Height: f.Head.Number, Hash: f.Head.Hash, Time: f.Head.Time, Seen: f.Head.Seen,
		Known: f.Head.Known(), HeadKnown: f.HeadKnown, Highest: f.Highest,
		Client: f.Client, ChainID: f.ChainID, Genesis: f.Genesis,
	}
}

// forks are those that the running node knows, and whether it has told them yet.
func (p *parts) forks() (forks []upgrade.Fork, told bool) {
	c := p.follower.Consensus()
	for _, f := range c.Forks {
		forks = append(forks, upgrade.Fork{Name: f.Name, Height: f.Block, Time: f.Time})
	}
	return forks, c.Known
}

// recoverPlans finishes or undoes what an earlier supervisor was in the middle
// of, once. Where the data itself is half done, and the node must not start, that
// waits until it is whole.
func (p *parts) recoverPlans(ctx context.Context) error {
	select {
	case <-p.whole:
		return nil
	default:
	}
	if p.backups.Holding() != nil {
		return nil
	}
	p.prober.SetPhase("recovering upgrades")
	defer p.prober.SetPhase("")
	if err := p.upgrader.Recover(ctx); err != nil {
		return err
	}
	close(p.whole)
	return nil
}

// upgrades applies plans once the volume is ours and whole. Without the
// supervisor's Run there would be nobody to wait for.
func (p *parts) upgrades(ctx context.Context) error {
	if !p.wait(ctx) {
		return nil
	}
	select {
	case <-p.whole:
		return p.upgrader.Run(ctx)
	case <-ctx.Done():
		return nil
	}
}

// plans looks for plans once what lay there before has been recovered.
func (p *parts) plans(ctx context.Context) error {
	if !p.wait(ctx) {
		return nil
	}
	return p.queue.Run(ctx)
}
