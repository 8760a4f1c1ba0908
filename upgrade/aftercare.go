package upgrade

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/backup"
	supervisor "github.com/wemix/wemixvisor/init"
)

// aftercare looks after upgrades that are behind us, and after what is known of
// the node. The turn is held.
func (u *Upgrader) aftercare(f Facts, now time.Time) {
	if st := u.cfg.Node.Status(); st.State == supervisor.Running {
		u.alarms.over("node_held")
		u.uncustodied(st.Pid, now) // to know it when the node is down
		u.hearForks(f)
	}
	for _, r := range u.journal.read().Records {
		switch {
		case r.Switch == nil:
		case r.Stage == Unconfirmed:
			u.follow(r, f)
		case r.Stage.Over():
			u.preserve(r, now)
		}
	}
}

// hearForks notes once per process which forks it knows. It tells them some time
// after its first answer; until then those of the one before say nothing.
func (u *Upgrader) hearForks(f Facts) {
	if u.cfg.Forks == nil || f.FirstAnswer.IsZero() || u.forksOf.Equal(f.Started) {
		return
	}
	forks, told := u.cfg.Forks()
	u.forks.Store(&forks)
	if told {
		u.forksOf = f.Started
	}
}

// follow has an unconfirmed upgrade confirmed when the chain moves after all.
func (u *Upgrader) follow(r *Record, f Facts) {
	if current := u.cfg.Home.Current(); current != r.Name {
		u.enter(r.Name, Superseded, "it was never confirmed, and "+current+" has taken its place", nil)
		return
	}
	key := "upgrade_lagging/" + r.Name
	if f.HeadKnown && f.Height >= r.Switch.Head+u.cfg.ConfirmBlocks {
		u.alarms.over(key)
		u.done(r.Name, "the chain moves")
		return
	}
	if u.cfg.MaxLag > 0 && f.HeadKnown && f.Highest > f.Height+u.cfg.MaxLag {
		u.alarms.fire(key, fmt.Sprintf("plan %s: the head stays at %d while peers are at %d; maybe the new binary is on the wrong chain: wemixvisor rollback", r.Name, f.Height, f.Highest), true)
	} else {
		u.alarms.over(key)
	}
}

// done ends an upgrade that has proved itself. The data that an earlier failure
// left aside is of no more use.
func (u *Upgrader) done(name, why string) {
	u.enter(name, Done, why, nil)
	for _, r := range u.journal.read().Records { // whatever failed before is behind us
		if r.Name != name && r.Stage.Over() {
			u.alarm(r)
		}
	}
	u.tidy(u.journal.read().record(name))
	if u.cfg.SkipBackup || u.cfg.Snapshots == nil {
		return
	}
	u.job(func(ctx context.Context) {
		failed, err := u.cfg.Snapshots.Failed()
		for _, id := range failed {
			err = errors.Join(err, u.cfg.Snapshots.DropFailed(ctx, id))
		}
		if err != nil && ctx.Err() == nil {
			level.Warn(u.logger).Log("msg", "data of an earlier failure not removed; it takes up room", "err", err)
		}
	})
}

// preserve makes the archive of an upgrade's snapshot, and drops the snapshot
// when it has been kept for long enough.
func (u *Upgrader) preserve(r *Record, now time.Time) {
	id := r.Switch.Snapshot
	if id == "" || u.cfg.Snapshots == nil || u.archiving != "" {
		return
	}
	_, failed := u.archived[r.Name]
	archive := r.Stage == Done && u.cfg.Archive != nil && u.cfg.RequireArchive == ArchiveAfter && r.Switch.Archive == "" && !failed
	drop := now.Sub(r.Since) >= u.cfg.SnapshotKeep
	if !archive && !drop {
		return
	}
	u.archiving = r.Name
	u.job(func(ctx context.Context) {
		var made string
		var err error
		if archive {
			if made, err = u.archive(ctx, id); err != nil {
				made = ""
			}
		}
		dropped := false
		if drop && ctx.Err() == nil {
			derr := u.cfg.Snapshots.Drop(ctx, id)
			dropped = derr == nil || errors.Is(derr, backup.ErrNotFound)
			if !dropped {
				level.Warn(u.logger).Log("msg", "snapshot not dropped; trying again", "plan", r.Name, "snapshot", id, "err", derr)
			}
		}
		u.turn.Lock()
		defer u.turn.Unlock()
		u.archiving = ""
		if ctx.Err() != nil {
			return
		}
		key := "archive/" + r.Name
		if err != nil {
			u.archived[r.Name] = struct{}{}
			level.Error(u.logger).Log("msg", "no archive was made of the data before the upgrade; its snapshot is kept for a while", "plan", r.Name, "err", err)
			u.alarms.fire(key, "no archive of the data before "+r.Name+": "+oneLine(err), false)
		}
		if made == "" && !dropped {
			return
		}
		u.record("note the archive", func(s *state) {
			sw := s.record(r.Name).Switch
			if made != "" {
				sw.Archive = made
			}
			if dropped {
				sw.Snapshot = ""
			}
		})
	})
}

// archive makes an archive of a snapshot that is there.
func (u *Upgrader) archive(ctx context.Context, id string) (string, error) {
	all, err := u.cfg.Snapshots.List()
	for _, s := range all {
		if s.ID == id {
			return u.cfg.Archive(ctx, s)
		}
	}
	if err == nil {
		err = fmt.Errorf("snapshot %s: %w", id, backup.ErrNotFound)
	}
	return "", err
}
