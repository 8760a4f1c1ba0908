package upgrade

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-kit/log/level"

	supervisor "github.com/wemix/wemixvisor/init"
)

// height is one that is waited for.
type height struct {
	block  uint64
	cancel context.CancelFunc
}

// decide does what is due: it prepares plans, waits for heights, and hands the
// plan whose moment has come to the supervisor.
func (u *Upgrader) decide(ctx context.Context) {
	u.turn.Lock()
	defer u.turn.Unlock()
	if ctx.Err() != nil || u.current.Load() != nil {
		return
	}
	facts, now := u.cfg.Facts(), time.Now()
	if u.forgotten() {
		return
	}
	u.pace.sample(facts)
	u.block.Store(int64(u.pace.block()))
	u.aftercare(facts, now)
	u.release(facts)
	u.prepareNext(u.journal.read(), now)
	s := u.journal.read()
	u.await(ctx, s, facts)

	v := u.view(facts, now)
	pick, late := choose(s.Records, v, u.hooked)
	for _, r := range late {
		blocks := uint64(0)
		if r.Height > 0 && v.head > r.Height {
			blocks = v.head - r.Height
		}
		if r.Stage == NotReady {
			u.alarms.fire("upgrade_late/"+r.Name, fmt.Sprintf("plan %s is due and not ready, %d blocks late: %s; the old binary runs on", r.Name, blocks, r.Reason), true)
		}
	}
	if g := u.gating; g != nil && (pick == nil || pick.Name != g.name) {
		g.cancel()
		u.gating = nil
	}
	if pick == nil {
		u.approach(s, facts)
		return
	}
	if slices.ContainsFunc(late, func(r *Record) bool { return r.order() > pick.order() && u.soon(r) }) {
		return // a higher one is ready in a moment
	}
	if u.stat(pick) != pick.File { // somebody put another binary there
		u.enter(pick.Name, Scheduled, "", func(r *Record) { r.SHA256 = "" })
		u.wake()
		return
	}
	if why := u.hindrance(facts, now); why != "" {
		u.wait(pick, why)
		return
	}
	if err := u.provided(ctx, pick); err != nil { // the room may be gone since
		u.prepared(pick, inspected{}, err)
		return
	}
	if !u.cfg.SkipBackup && !u.aheadNow(pick.Name) {
		return
	}
	if u.cfg.Gate != nil && u.cfg.Node.Status().State == supervisor.Running && !u.passed(pick) {
		return
	}
	u.begin(pick, facts)
}

// forgotten takes up a trial that the first start could not: the node was held
// down then, for data that was half swapped, and somebody has started it since. A
// change begins with a stop, so the new binary is started once more for it.
func (u *Upgrader) forgotten() bool {
	r := u.journal.read().active()
	if r == nil || r.Stage != Confirming || r.Switch.Step != stepLink ||
		u.cfg.Home.folder() != r.folder() {
		return false
	}
	if st := u.cfg.Node.Status(); st.State != supervisor.Running || st.Change != nil {
		return false
	}
	c := u.resume(r)
	a := u.current.Load()
	u.job(func(context.Context) {
		_ = u.cfg.Node.Change(context.Background(), *c) // see begin
		if !a.ended.Load() {                            // it was not taken: this start does not count
			u.record("note that the trial waits", func(s *state) { s.record(r.Name).Switch.Orderly = true })
			u.current.Store(nil)
		}
	})
	return true
}

// soon reports whether a plan is being made ready and its binary is here: that
// takes a moment, where a download may take long.
func (u *Upgrader) soon(r *Record) bool {
	return (r.Stage == Scheduled || r.Stage == Preparing) && u.stat(r) != (fileID{})
}

// view is what is known of the chain now, from a node that runs.
func (u *Upgrader) view(f Facts, now time.Time) view {
	v := view{now: now, halted: u.cfg.HaltStill}
	if f.HeadKnown {
		v.head, v.known = f.Height, true
		if now.Sub(f.LastAnswer) < 10*time.Second {
			v.still = now.Sub(f.Seen)
		}
	}
	return v
}

// hooked reports whether a plan has a hook, or may have one: where one is
// configured, for all of them.
func (u *Upgrader) hooked(r *Record) bool {
	hooks, err := u.hooks(r)
	return err != nil || len(hooks) > 0
}

// hindrance says why the node cannot be stopped for an upgrade just now; empty
// when it can. It is never stopped while somebody else does something to it, or
// has stopped it on purpose.
func (u *Upgrader) hindrance(f Facts, now time.Time) string {
	st := u.cfg.Node.Status()
	switch {
	case st.Change != nil:
		return st.Change.Kind + " in progress"
	case st.State == supervisor.Backoff:
		return u.uncustodied(0, now)
	case st.State != supervisor.Running && st.Held:
		return "the node is held down: " + st.Reason
	case st.State != supervisor.Running:
		return "the node is " + string(st.State)
	case (f.FirstAnswer.IsZero() || !f.Started.Equal(st.Started)) && now.Sub(st.Started) < u.cfg.MinStartInterval:
		return "the node is starting" // it may just be repairing its database
	}
	return u.uncustodied(st.Pid, now)
}

// waitQuietly is how long a due plan may wait before an operator is told.
const waitQuietly = time.Minute

// wait notes for what a due plan waits.
func (u *Upgrader) wait(r *Record, why string) {
	if r.Stage == Waiting && time.Since(r.Since) > waitQuietly {
		u.alarms.fire("upgrade_waiting/"+r.Name, fmt.Sprintf("plan %s is due and waits: %s", r.Name, why), false)
	}
	if r.Stage != Waiting || r.Reason != why {
		u.enter(r.Name, Waiting, why, nil)
	}
}

// await has somebody tell us when the lowest height is reached: near it, the
// node is asked more often.
func (u *Upgrader) await(ctx context.Context, s *state, f Facts) {
	if u.cfg.WaitHeight == nil {
		return
	}
	lowest := uint64(0)
	for _, r := range s.Records {
		if !r.Stage.Pending() || r.Held || r.Height == 0 {
			continue
		}
		block := r.Height
		if r.At == AtHalt {
			block--
		}
		if f.HeadKnown && f.Height >= block {
			continue
		}
		if lowest == 0 || block < lowest {
			lowest = block
		}
	}
	if u.waiting != nil {
		if u.waiting.block == lowest {
			return
		}
		u.waiting.cancel()
		u.waiting = nil
	}
	if lowest == 0 {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	mine := &height{lowest, cancel}
	u.waiting = mine
	u.job(func(context.Context) {
		defer cancel()
		_ = u.cfg.WaitHeight(ctx, lowest) // whatever it says, the head is looked at again
		u.turn.Lock()
		defer u.turn.Unlock()
		if u.waiting == mine && ctx.Err() == nil {
			u.waiting = nil
		}
	})
}

// release lets go of plans that were held because the journal was lost, once the
// chain shows that they are still to come.
func (u *Upgrader) release(f Facts) {
	if !f.HeadKnown {
		return
	}
	for _, r := range u.journal.read().Records {
		if r.Held && r.Stage == Scheduled && r.Height > f.Height {
			u.enter(r.Name, Scheduled, "", func(r *Record) { r.Held = false })
		}
	}
}

// begin hands the plan to the supervisor.
func (u *Upgrader) begin(r *Record, f Facts) {
	a, err := u.open(r, f)
	if err != nil {
		level.Error(u.logger).Log("msg", "switch not begun; the old binary runs on", "plan", r.Name, "err", err)
		u.alarms.fire("journal", "the journal cannot be written: "+err.Error(), true)
		return
	}
	if g := u.gating; g != nil {
		g.cancel()
		u.gating = nil
	}
	u.job(func(context.Context) {
		// Not with our context: once it is taken, only the supervisor's own ends it.
		_ = u.cfg.Node.Change(context.Background(), a.change())
		if !a.ended.Load() { // it was not taken: somebody was faster, or all is over
			u.turn.Lock()
			defer u.turn.Unlock()
			u.current.Store(nil)
			u.enter(r.Name, Prepared, "", nil)
		}
	})
}
