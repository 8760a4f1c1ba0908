package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/probe/chain"
	"github.com/wemix/wemixvisor/upgrade"
)

// delegate has the running supervisor do something, and shows how far it has come;
// where none runs, we do it ourselves, and with locked nobody takes the volume
// meanwhile.
func delegate[A any](ctx context.Context, s *settings, kind string, locked bool, ask func(*api.Client) (A, error), do func(*upgrade.Backups) (A, error)) (A, error) {
	p := newProgress(os.Stderr)
	defer p.end()
	client := api.NewClient(s.controlSocket)
	over := make(chan struct{})
	shown := make(chan struct{})
	go func() { // joined below
		defer close(shown)
		follow(ctx, client, kind, p, over)
	}()
	answer, err := ask(client)
	close(over)
	<-shown
	if !errors.Is(err, api.ErrNotRunning) {
		if ctx.Err() != nil {
			err = fmt.Errorf("%s goes on in the supervisor; see: wemixvisor status: %w", kind, err)
		}
		return answer, err
	}
	b := alone(s, p)
	if locked {
		home := upgrade.Home{Root: s.home, Name: s.name}
		lock, err := home.Lock(ctx, 0, "backup "+kind)
		if err != nil {
			return answer, err
		}
		defer lock.Close()
		b.backups.Recover(ctx)
	}
	return do(b.backups)
}

// followEvery is how often a supervisor is asked how far it has come.
const followEvery = 500 * time.Millisecond

// follow shows how far the supervisor has come, until over closes.
func follow(ctx context.Context, client *api.Client, kind string, p *progress, over <-chan struct{}) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var st api.Status
		if client.Get(ctx, "status", &st) == nil && st.Backup.Running != nil && st.Backup.Running.Kind == kind {
			p.show(st.Backup.Running.Stage, st.Backup.Running.Done, st.Backup.Running.Total)
		}
	}
}

// alone makes what a command needs that has no supervisor to ask. With a progress
// it is told how far that has come.
func alone(s *settings, p *progress) backupParts {
	home := upgrade.Home{Root: s.home, Name: s.name}
	logger := level.NewFilter(newCommandLog(), level.AllowWarn())
	known, _ := chain.Remembered(headFile(home)) // else nothing is known
	return newBackupParts(s, home, logger, func(c *upgrade.BackupsConfig) {
		c.Facts = func() upgrade.Facts { return factsOf(known) }
		c.Version = func() string { return known.Version }
		if p != nil {
			c.OnEvent = func(e upgrade.BackupEvent) {
				if !e.Over {
					p.show(e.Stage, e.Done, e.Total)
				}
			}
		}
	}, nil, func() []string { return ancients(nil, os.Environ(), "") })
}

// newCommandLog is the log of a command that does a supervisor's work.
func newCommandLog() log.Logger {
	return log.With(log.NewLogfmtLogger(log.NewSyncWriter(os.Stderr)), "ts", log.DefaultTimestampUTC)
}
