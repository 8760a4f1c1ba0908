package upgrade

import (
	"context"
	"slices"
	"time"

	"github.com/go-kit/log/level"

	supervisor "github.com/wemix/wemixvisor/init"
)

// Next is what the supervisor asks before its first start, and after an exit of
// the node that nobody asked for. A plan that is due then becomes a change with
// the node already down.
func (u *Upgrader) Next(ctx context.Context, end *supervisor.Ended) *supervisor.Change {
	u.turn.Lock()
	defer u.turn.Unlock()
	if end == nil {
		return u.first(ctx)
	}
	return u.fallen(*end)
}

// first decides about the first start: a trial that was going on goes on; after
// a clean stop, a plan that is due comes before it.
func (u *Upgrader) first(ctx context.Context) *supervisor.Change {
	if err := u.holding; err != nil {
		hold := func(context.Context, error) error { return err }
		return &supervisor.Change{Kind: KindRollback, Apply: func(context.Context) error { return err }, Revert: hold}
	}
	if r := u.journal.read().active(); r != nil {
		return u.resume(r)
	}
	_ = u.reconcile(u.cfg.Queue.take()) // Run looks again
	mark := u.journal.read().Node
	defer u.record("note the start", func(s *state) { s.Node.Clean = false })
	if !mark.Clean || u.uncustodied(0, time.Now()) != "" {
		return nil
	}
	v := view{now: time.Now(), head: mark.Height, known: mark.Known, halted: u.cfg.HaltStill}
	for _, r := range slices.Clone(u.journal.read().Records) {
		// What lies here already may be made ready now; a download would keep the
		// node down.
		if r.Stage.Pending() && !r.Held && !r.ready() && v.due(r) && u.stat(r) != (fileID{}) {
			in, err := u.prepare(ctx, r)
			u.prepared(r, in, err)
		}
	}
	pick, _ := choose(u.journal.read().Records, v, u.hooked)
	if pick == nil || u.stat(pick) != pick.File {
		return nil
	}
	a, err := u.open(pick, Facts{Height: mark.Height, Hash: mark.Hash, Known: mark.Known})
	if err != nil {
		level.Error(u.logger).Log("msg", "switch not begun; the old binary starts", "plan", pick.Name, "err", err)
		return nil
	}
	a.ending, a.clean = true, true
	c := a.change()
	return &c
}

// fallen decides about an exit that nobody asked for: where a plan is due it is
// how many nodes ask for their upgrade, and no crash.
func (u *Upgrader) fallen(end supervisor.Ended) *supervisor.Change {
	f := u.cfg.Facts()
	if !f.Known || f.Height != u.exits.head {
		u.exits = exits{head: f.Height}
	}
	u.exits.count++
	if u.current.Load() != nil || u.uncustodied(0, time.Now()) != "" {
		return nil
	}
	v := view{now: end.At, known: f.Known, halted: u.cfg.HaltStill}
	if f.Known {
		v.head = reach(f, u.pace.block(), end.At)
		if u.exits.count > 1 {
			v.head = max(v.head, f.Height+exitNear)
		}
	}
	pick, _ := choose(u.journal.read().Records, v, u.hooked)
	if pick == nil || u.stat(pick) != pick.File {
		return nil
	}
	a, err := u.open(pick, f)
	if err != nil {
		level.Error(u.logger).Log("msg", "switch not begun; the old binary starts again", "plan", pick.Name, "err", err)
		return nil
	}
	a.ending, a.clean, a.began = true, clean(end), end.At
	level.Info(u.logger).Log("msg", "node exited and a plan is due; upgrading", "plan", pick.Name, "exit", end.Exit, "clean", a.clean)
	c := a.change()
	return &c
}
