package upgrade

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/backup"
	"github.com/wemix/wemixvisor/backup/failpoint"
	supervisor "github.com/wemix/wemixvisor/init"
)

// trialPoll is how often the new binary is looked at.
const trialPoll = 100 * time.Millisecond

// try watches the new binary prove itself. It returns nil when it has, and when
// it at least answers: a chain that stands still may be waiting for the others.
func (a *attempt) try(ctx context.Context) error {
	u := a.u
	st := u.cfg.Node.Status()
	if !a.resumed {
		a.down.Start += st.Started.Sub(a.applied)
		a.switched(st)
	}
	failpoint.At("trial.started")
	u.tell(a.record())
	err := a.watch(ctx, st.Started)
	var open *standstill
	switch {
	case ctx.Err() != nil && err != nil:
		if errors.Is(context.Cause(ctx), supervisor.ErrExited) {
			return supervisor.ErrExited
		}
		// An orderly end: this start does not count.
		u.record("note an orderly end", func(s *state) { s.record(a.name).Switch.Orderly = true })
		return ctx.Err()
	case errors.As(err, &open):
		u.enter(a.name, Unconfirmed, open.Error(), nil)
		return nil
	case err != nil:
		return err
	}
	failpoint.At("trial.passed")
	u.done(a.name, "")
	failpoint.At("trial.done")
	return nil
}

// switched reports how long the node was down, and in which parts.
func (a *attempt) switched(st supervisor.Status) {
	u := a.u
	u.record("note the downtime", func(s *state) { s.record(a.name).Switch.Downtime = a.down })
	sw := a.record().Switch
	keys := []any{
		"msg", "node switched", "height", a.record().Height, "from", folderName(sw.Previous), "pid", st.Pid,
		"down", a.down.Total(), "stop", a.down.Stop, "snapshot", a.down.Snapshot, "hook", a.down.Hook, "start", a.down.Start,
	}
	if sw.Late > 0 {
		keys = append(keys, "blocks_late", sw.Late)
	}
	level.Info(a.logger).Log(keys...)
	if u.cfg.OnSwitch != nil {
		u.cfg.OnSwitch(a.name, a.down)
	}
}

// standstill is a trial whose node answers and whose head does not move.
type standstill struct{ text string }

func (s *standstill) Error() string { return s.text }

// watch returns nil when the node has run, answers, and has got past the head
// that the old binary had.
func (a *attempt) watch(ctx context.Context, started time.Time) error {
	u := a.u
	sw := a.record().Switch
	goal, known := sw.Head+u.cfg.ConfirmBlocks, sw.HeadKnown
	deadline := time.NewTimer(time.Until(started.Add(u.cfg.ConfirmTimeout)))
	defer deadline.Stop()
	tick := time.NewTicker(trialPoll)
	defer tick.Stop()
	a.stage("confirming")
	late := false
	for {
		f := u.cfg.Facts()
		answers := !f.FirstAnswer.IsZero() && !f.Started.Before(started)
		if !known && answers && f.HeadKnown { // the old one never told its head
			goal, known = f.Height+u.cfg.ConfirmBlocks, true
		}
		if answers && !a.forked {
			a.forked = a.hearForks()
		}
		moved := answers && f.HeadKnown && known && f.Height >= goal
		if moved && time.Since(started) >= u.cfg.ConfirmTime {
			return nil
		}
		if late {
			switch {
			case !answers:
				return fmt.Errorf("%w within %s", errSilent, u.cfg.ConfirmTimeout)
			case !moved:
				return &standstill{fmt.Sprintf("it answers, but its head stays at %d, and should have come to %d within %s", f.Height, goal, u.cfg.ConfirmTimeout)}
			default: // confirm-time is longer than confirm-timeout
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			late = true
		case <-a.confirm:
			return nil
		case a.data = <-a.abort:
			a.asked = true
			return errAborted
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hearForks notes which forks the new binary knows, and reports whether there is
// no more to hear: it tells them some time after its first answer.
func (a *attempt) hearForks() bool {
	if a.u.cfg.Forks == nil {
		return true
	}
	forks, told := a.u.cfg.Forks()
	if told {
		a.u.record("note the forks", func(s *state) { s.record(a.name).Switch.NewForks = forks })
	}
	return told
}

// revert takes everything back, exactly once. What has gone back is journalled
// before it does, so that whoever loses power goes on with it.
func (a *attempt) revert(ctx context.Context, failure error) error {
	u := a.u
	why := a.why(failure)
	if !a.hooked && !a.linked {
		u.enter(a.name, a.end, why, func(r *Record) { r.Held, r.Fault = a.held, faultOf(failure) })
		return nil
	}
	if a.linked {
		a.end = RolledBack
	}
	r := a.record()
	if a.linked && u.cfg.Rollback == RollbackNever && !a.asked {
		u.enter(a.name, Failed, why+"; nothing goes back, as rollback is never", nil)
		return nil
	}
	data := a.goesBack(r.Switch)
	u.record("note the way back", func(s *state) {
		sw := s.record(a.name).Switch
		sw.Step, sw.Why, sw.Data, sw.End = stepRevert, why, data, a.end
		sw.Unrun = !a.linked
	})
	failpoint.At("revert.journalled")
	return u.goBack(ctx, a.name)
}

// goesBack decides whether the data goes back too.
//
// A hook's changes always do: nothing has run on them. Otherwise a validator's
// data stays, since it signs before its head moves: a bad release must not make
// a quorum of machines rewind final blocks together.
func (a *attempt) goesBack(sw *Switch) bool {
	u := a.u
	switch {
	case sw.Snapshot == "":
		return false
	case !a.linked:
		return true
	case a.data:
		return true
	}
	return sw.Clean && u.cfg.Rollback == RollbackAuto && !u.cfg.ValidatorMode
}

// why words what went wrong, with the node's own last words.
func (a *attempt) why(failure error) string {
	last := a.u.cfg.Node.Status().Last
	if !errors.Is(failure, supervisor.ErrExited) || last == nil {
		return oneLine(failure)
	}
	text := last.Exit.String()
	if last.OOM {
		text += " (out of memory)"
	}
	if last.Words != "" {
		text += ": " + last.Words
	}
	return text
}

// goBack does what the journal says is to go back: data, then link. It may be
// called again after it was broken off anywhere.
func (u *Upgrader) goBack(ctx context.Context, name string) error {
	r := u.journal.read().record(name)
	sw := r.Switch
	why := sw.Why
	var hold error
	if sw.Data && !sw.DataBack {
		u.cfg.Node.Stage("restoring data")
		back, err := u.cfg.Snapshots.Rollback(ctx, sw.Snapshot)
		switch {
		case err == nil:
			why += fmt.Sprintf("; data is back at height %d", back.Origin.Height)
		case errors.Is(err, backup.ErrNotFound): // it went back before we were broken off
			why += fmt.Sprintf("; data is back at height %d", sw.Head)
		case errors.Is(err, backup.ErrIdentity):
			hold = err
		case errors.Is(err, backup.ErrUnfinished), ctx.Err() != nil:
			return err
		case sw.Unrun: // what the hook did to it stays: not for the old binary
			hold = err
		default: // the data is as it was: the binary alone goes back, and that is said
			level.Error(u.logger).Log("msg", "data not rolled back; the binary alone goes back", "plan", name, "err", err)
			u.alarms.fire("rollback_data/"+name, "data not rolled back: "+oneLine(err), true)
			why += "; data stays: " + oneLine(err)
		}
		u.record("note the data", func(s *state) {
			sw := s.record(name).Switch
			sw.DataBack, sw.Why, sw.Snapshot = true, why, ""
			if err != nil && !errors.Is(err, backup.ErrNotFound) && !errors.Is(err, backup.ErrIdentity) {
				sw.Snapshot = r.Switch.Snapshot // it is still there
			}
		})
		failpoint.At("revert.data")
	}
	if err := u.cfg.Home.Switch(sw.Previous); err != nil {
		return err
	}
	failpoint.At("revert.linked")
	u.enter(name, sw.End, why, nil)
	failpoint.At("revert.done")
	if fork := u.beyond(sw); fork != "" && hold == nil {
		hold = errors.New(fork)
	}
	if hold != nil {
		u.alarms.fire("rollback_hold/"+name, "after the rollback the node is held down: "+oneLine(hold), true)
		return fmt.Errorf("after the rollback of %s the node is %w: %w", name, supervisor.ErrHold, hold)
	}
	return nil
}

// beyond says which fork the chain is past that only one of the two binaries
// knows: the old one would follow the wrong chain, or rewind to it.
func (u *Upgrader) beyond(sw *Switch) string {
	f := u.cfg.Facts()
	head := max(sw.Head, f.Height)
	if len(sw.Forks) == 0 || len(sw.NewForks) == 0 {
		return "" // one of them did not tell
	}
	for _, pair := range [][2][]Fork{{sw.Forks, sw.NewForks}, {sw.NewForks, sw.Forks}} {
		for _, fork := range pair[0] {
			passed := fork.Height <= head
			if !fork.Time.IsZero() {
				passed = !f.Time.IsZero() && !fork.Time.After(f.Time)
			}
			if passed && !slices.ContainsFunc(pair[1], fork.equal) {
				return fmt.Sprintf("the chain is at %d, past the fork %s, which only one of the two binaries knows", head, fork.Name)
			}
		}
	}
	return ""
}
