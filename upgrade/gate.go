package upgrade

import (
	"context"
	"time"
)

// gateAgain is how long a gate that stayed shut is left alone.
const gateAgain = 10 * time.Second

// gating is a quorum gate that is being asked, for a plan or a rollback.
type gating struct {
	name   string
	cancel context.CancelFunc
	over   bool
	err    error
	at     time.Time
}

// passed reports whether the quorum gate has just opened for a plan, and asks it
// otherwise.
func (u *Upgrader) passed(r *Record) bool {
	g := u.gating
	switch {
	case g != nil && !g.over && g.name == r.Name:
		return false
	case g != nil && g.over && g.name == r.Name && g.err == nil:
		u.gating = nil
		return true
	case g != nil && g.over && g.name == r.Name && time.Since(g.at) < gateAgain:
		return false
	}
	u.wait(r, "for the quorum gate")
	run := u.ctx.Load()
	if run == nil {
		return false
	}
	ctx, cancel := context.WithCancel(*run)
	g = &gating{name: r.Name, cancel: cancel}
	u.gating = g
	u.job(func(context.Context) {
		defer cancel()
		err := u.cfg.Gate(ctx)
		u.turn.Lock()
		defer u.turn.Unlock()
		g.over, g.err, g.at = true, err, time.Now()
		if err != nil && ctx.Err() == nil {
			if r := u.journal.read().record(g.name); r != nil && r.Stage.Pending() {
				u.wait(r, "quorum gate: "+oneLine(err))
			}
		}
	})
	return false
}
