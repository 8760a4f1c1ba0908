package upgrade

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/backup"
)

const (
	// aheadFresh is how long a snapshot in the making is near enough to the data.
	aheadFresh = time.Minute
	// A height this near, in blocks or in time, is worth a snapshot in the making.
	nearBlocks = 50
	nearTime   = 2 * time.Minute
)

// ahead is the snapshot in the making.
type ahead struct {
	running bool
	at      time.Time // when the last one succeeded
	failed  time.Time // or did not
}

// aheadNow has the snapshot made ready while the node still runs, and reports
// whether it is.
func (u *Upgrader) aheadNow(name string) bool {
	now := time.Now()
	switch {
	case u.ahead.running:
		return false
	case now.Sub(u.ahead.at) < aheadFresh:
		return true
	case name != "" && now.Sub(u.ahead.failed) < u.cfg.RetryInterval:
		return false
	case name == "" && now.Sub(u.ahead.failed) < aheadFresh:
		return false
	}
	u.ahead.running = true
	u.job(func(ctx context.Context) {
		p, err := u.cfg.Snapshots.Prepare(ctx)
		u.turn.Lock()
		defer u.turn.Unlock()
		u.ahead.running = false
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			u.ahead.failed = time.Now()
			level.Warn(u.logger).Log("msg", "snapshot not prepared; the old binary runs on", "plan", name, "err", err)
			if name != "" {
				u.unprepared(name, err)
			}
			return
		}
		u.ahead.at = time.Now()
		level.Debug(u.logger).Log("msg", "snapshot prepared", "method", p.Method, "files", p.Files, "to_copy", p.ToCopy)
		u.partial(p)
	})
	return false
}

// unprepared notes that a due plan has no room, or no way, for its snapshot.
func (u *Upgrader) unprepared(name string, err error) {
	r := u.journal.read().record(name)
	if r == nil || !r.Stage.Pending() {
		return
	}
	if errors.Is(err, backup.ErrBusy) {
		u.wait(r, oneLine(err))
		return
	}
	in := inspected{}
	u.prepared(r, in, fmt.Errorf("prepare snapshot: %w", err))
}

// partial tells that data lies where no snapshot reaches.
func (u *Upgrader) partial(p backup.Prepared) {
	if p.Partial == "" {
		u.alarms.over("snapshot_partial")
		return
	}
	u.alarms.fire("snapshot_partial", "a rollback can only be of the binary: "+p.Partial, false)
}

// approach makes the snapshot ready when a height is near.
func (u *Upgrader) approach(s *state, f Facts) {
	if u.cfg.SkipBackup || !f.HeadKnown {
		return
	}
	for _, r := range s.Records {
		if !r.Stage.Pending() || r.Held || !r.ready() || r.Height <= f.Height {
			continue
		}
		left := r.Height - f.Height
		block := u.pace.block()
		if left <= nearBlocks || block > 0 && left < uint64(nearTime/block) {
			u.aheadNow("")
			return
		}
	}
}
