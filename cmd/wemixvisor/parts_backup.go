package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/go-kit/log"

	"github.com/wemix/wemixvisor/backup"
	"github.com/wemix/wemixvisor/cmd/internal/api"
	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/upgrade"
)

// backupParts keep the node's data safe.
type backupParts struct {
	snapshots *backup.Snapshotter
	repo      *backup.Repo
	backups   *upgrade.Backups
}

// buildBackups makes them. The supervisor is there by now.
func (p *parts) buildBackups() {
	node := p.supervisor.Status
	p.backupParts = newBackupParts(p.s, p.home, p.log("backup"), func(c *upgrade.BackupsConfig) {
		c.Node, c.Gate = p.supervisor, p.gate()
		c.Policy = func() upgrade.BackupPolicy { return p.live.now.Load().policyOfBackups() }
		c.Facts = func() upgrade.Facts { return factsOf(p.follower.Facts()) }
		c.Version = func() string { return p.follower.Facts().Version }
		c.OnEvent = func(e upgrade.BackupEvent) { p.hub.Publish(api.TopicBackup, e) }
	}, func() bool { return node().Pid != 0 }, func() []string { return ancients(node().Args, nodeEnv(os.Environ()), cwd(node().Pid)) })
}

// newBackupParts makes what reads and writes snapshots and archives, with a
// supervisor beside it or, for a command, without one.
func newBackupParts(s *settings, home upgrade.Home, logger log.Logger, edit func(*upgrade.BackupsConfig), nodeRuns func() bool, external func() []string) backupParts {
	var b backupParts
	b.snapshots = backup.NewSnapshotter(backup.SnapshotterConfig{
		Tree:     backup.Tree{Root: s.dataDir, Own: []string{home.Dir(), s.dataBackupDir}},
		Floor:    s.backupMinFree,
		External: external,
	})
	b.repo = backup.NewRepo(backup.RepoConfig{Dir: s.dataBackupDir, Program: version, Floor: s.backupMinFree, NodeRuns: nodeRuns})
	cfg := upgrade.BackupsConfig{
		Home: home, Data: s.dataDir, Snapshots: b.snapshots, Repo: b.repo, Logger: logger,
		Policy: s.policyOfBackups,
	}
	edit(&cfg)
	b.backups = upgrade.NewBackups(cfg)
	return b
}

// recoverData makes the data directory whole before the node's first start.
func (p *parts) recoverData(ctx context.Context) {
	p.prober.SetPhase("recovering the data")
	p.backups.Recover(ctx)
}

// keepBackups makes backups by schedule, once the volume is ours.
func (p *parts) keepBackups(ctx context.Context) error {
	if !p.wait(ctx) {
		return nil
	}
	return p.backups.Run(ctx)
}

// program is the file of the node, if that may be started.
func (p *parts) program() (string, error) {
	if err := p.backups.Cleared(context.Background()); err != nil {
		return "", err
	}
	if err := p.recoverPlans(context.Background()); err != nil {
		return "", err
	}
	return p.home.Program()
}

// next is what comes in place of a start.
func (p *parts) next(ctx context.Context, end *supervisor.Ended) *supervisor.Change {
	if c := p.backups.First(end); c != nil {
		return c
	}
	return p.upgrader.Next(ctx, end)
}

// backupRules are the alerts about backups.
func backupRules(s *settings, b *upgrade.Backups, started time.Time) []alert.Rule {
	oldest := s.oldestBackup()
	return []alert.Rule{
		{Name: "backup_failed", Severity: alert.Warning, Check: func(alert.Scene) string { return b.Figures().Failure }},
		{Name: "backup_too_old", Severity: alert.Warning, Check: func(sc alert.Scene) string {
			if oldest <= 0 {
				return ""
			}
			last, what := started, "there is no verified backup"
			if v := b.Figures().LastVerified; v != nil {
				last, what = v.Created, "the last verified backup is "+v.ID
			}
			if age := sc.Now.Sub(last); age > oldest {
				return fmt.Sprintf("%s; wanted is one every %s", what, oldest)
			}
			return ""
		}},
		{Name: "data_unfinished", Severity: alert.Critical, Check: func(alert.Scene) string {
			if err := b.Holding(); err != nil {
				return err.Error()
			}
			return ""
		}},
	}
}
