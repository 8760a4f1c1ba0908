package upgrade

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/backup"
	supervisor "github.com/wemix/wemixvisor/init"
)

// Recover comes before the node's first start: it finishes or undoes a restore
// that was broken off, and sweeps what an earlier process left half made. Where
// the node must not start on what is there, [Backups.Holding] says so afterwards;
// all else is logged and keeps nobody.
func (b *Backups) Recover(ctx context.Context) {
	if err := b.recover(ctx); err != nil && ctx.Err() == nil {
		level.Error(b.logger).Log("msg", "data directory not looked after", "err", err)
	}
	n, err := b.cfg.Repo.Recover()
	if err != nil {
		level.Warn(b.logger).Log("msg", "repository not swept; trying again at the next backup", "err", err)
	}
	if n > 0 {
		level.Info(b.logger).Log("msg", "unfinished backups deleted", "count", n)
	}
	b.look()
}

func (b *Backups) recover(ctx context.Context) error {
	r, err := b.cfg.Snapshots.Recover(ctx)
	switch {
	case r.Finished != nil:
		level.Info(b.logger).Log("msg", "a change of the data was broken off; finished it", "id", r.Finished.ID)
	case r.Undone != "":
		level.Warn(b.logger).Log("msg", "a change of the data was broken off; undid it", "id", r.Undone)
	}
	if forbids(err) {
		b.hold(err)
		return err
	}
	b.held.Store(nil)
	if err != nil {
		return err
	}
	snapshots, err := b.cfg.Snapshots.List()
	for _, s := range snapshots {
		if s.Reason == reasonBackup { // its archive was broken off
			err = errors.Join(err, b.cfg.Snapshots.Drop(ctx, s.ID))
		}
	}
	return err
}

// forbids tells errors after which the node must not start.
func forbids(err error) bool {
	return errors.Is(err, backup.ErrUnfinished) || errors.Is(err, backup.ErrIdentity)
}

func (b *Backups) hold(why error) {
	b.held.Store(&why)
	level.Error(b.logger).Log("msg", "the node must not start; holding it down", "err", why)
}

// Holding returns why the node must not be started; nil: it may.
func (b *Backups) Holding() error {
	if err := b.held.Load(); err != nil {
		return fmt.Errorf("the node must not start: %w", *err)
	}
	return nil
}

// Cleared tries again what Recover could not do, and returns nil when the node may
// start: it is to be asked before each start. What an upgrade's rollback has missed of
// the node's identity holds it, too.
func (b *Backups) Cleared(ctx context.Context) error {
	if b.held.Load() == nil {
		if err := b.cfg.Snapshots.Identity(); err != nil {
			b.hold(err)
		}
		return b.Holding()
	}
	if err := b.recover(ctx); err != nil {
		level.Warn(b.logger).Log("msg", "tried again to make the data whole", "err", err)
	}
	return b.Holding()
}

// First returns a change in place of the first start, where the node is to be
// held down with the reason. It goes into [supervisor.Config] Next; nil: go on.
func (b *Backups) First(end *supervisor.Ended) *supervisor.Change {
	err := b.Holding()
	if end != nil || err == nil {
		return nil
	}
	return &supervisor.Change{
		Kind:   KindRestore,
		Apply:  func(context.Context) error { return err },
		Revert: func(context.Context, error) error { return fmt.Errorf("%w: %w", supervisor.ErrHold, err) },
	}
}
