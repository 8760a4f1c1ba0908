package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/backup"
	supervisor "github.com/wemix/wemixvisor/init"
)

// KindRollback is the kind of the supervisor's change that goes back to an
// earlier binary.
const KindRollback = "rollback"

// Schedule stages the binary, where one is named, and files the plan. When it
// returns nil, both are on disk and the plan is in the journal; it is then
// prepared, see Await. Before Recover it fails, with nothing filed. A plan
// below the head is refused with [ErrPast] unless forced, one that does not fit
// with [ErrRefused].
func (u *Upgrader) Schedule(p Plan, binary string, force bool) error {
	if err := p.Check(); err != nil {
		return err
	}
	if p.Filed.IsZero() {
		p.Filed = time.Now().UTC()
	}
	if f := u.cfg.Facts(); p.Height > 0 && f.Known && p.Height <= f.Height && !force {
		return fmt.Errorf("%w: plan %s is for height %d, the head is %d; height 0 means now", ErrPast, p.Name, p.Height, f.Height)
	}
	u.turn.Lock()
	defer u.turn.Unlock()
	if _, err := u.journal.copy(); err != nil {
		return err
	}
	filings, _ := u.cfg.Queue.Look()
	f := Filing{Plan: p, Digest: p.Digest(), Files: []string{u.cfg.Queue.relative(u.cfg.Home.queued(p.Name))}}
	s := u.journal.read()
	for _, o := range filings {
		if o.Name == p.Name && o.Digest != f.Digest {
			return fmt.Errorf("%w: %s: %v says otherwise; cancel that first: wemixvisor upgrade cancel %s", ErrRefused, p.Name, o.Files, p.Name)
		}
	}
	if v, why := s.judge(f, append(filings, f), u.cfg.Home.Current()); v == refuse || v == moot {
		return fmt.Errorf("%w: %s: %s", ErrRefused, p.Name, why)
	} else if r := s.record(p.Name); v == ignore && r != nil && !r.Stage.Pending() {
		return fmt.Errorf("%w: %s: it is %s", ErrRefused, p.Name, r.Stage)
	}
	if binary != "" {
		if err := u.cfg.Home.Stage(binary, p.Name); err != nil {
			return err
		}
	}
	if err := u.cfg.Home.File(p); err != nil {
		return err
	}
	err := u.reconcile(u.cfg.Queue.take())
	u.wake()
	return err
}

// Await returns a plan when its preparation has succeeded or failed, or it is
// past that.
func (u *Upgrader) Await(ctx context.Context, name string) (Entry, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		e, err := u.Entry(name)
		if err != nil {
			return e, err
		}
		if e.Stage != Scheduled && e.Stage != Preparing || e.Held {
			return e, nil
		}
		select {
		case <-ctx.Done():
			return e, ctx.Err()
		case <-tick.C:
		}
	}
}

// Cancel gives up a plan that is not being applied. A foreign file that holds it
// stays, and is passed over.
func (u *Upgrader) Cancel(name string) error {
	u.turn.Lock()
	defer u.turn.Unlock()
	if err := u.act(name, func(r *Record) error {
		if !r.Stage.Pending() {
			return fmt.Errorf("%w: plan %s is %s; only a pending one can be cancelled", ErrRefused, name, r.Stage)
		}
		r.Withdrawn = false
		r.enter(Cancelled, "by request", time.Now())
		return nil
	}); err != nil {
		return err
	}
	_ = u.reconcile(u.cfg.Queue.take()) // one that was refused for its height may be free to come
	return nil
}

// Retry takes up a plan again that was rolled back, failed or is held.
func (u *Upgrader) Retry(name string) error {
	u.turn.Lock()
	defer u.turn.Unlock()
	r := u.journal.read().record(name)
	if r == nil {
		return fmt.Errorf("plan %s: %w", name, ErrUnknown)
	}
	if !(r.Stage.Pending() && (r.Held || r.Stage == NotReady)) && r.Stage != RolledBack && r.Stage != Failed {
		return fmt.Errorf("%w: plan %s is %s; nothing to retry", ErrRefused, name, r.Stage)
	}
	if len(r.Files) == 0 { // its file went when it was over
		p := r.Plan
		p.Filed = time.Now().UTC()
		if err := u.cfg.Home.File(p); err != nil {
			return err
		}
	}
	delete(u.retries, name)
	return u.act(name, func(r *Record) error {
		if len(r.Files) == 0 {
			r.Files = []string{u.cfg.Queue.relative(u.cfg.Home.queued(name))}
		}
		r.Held, r.SHA256, r.Fault = false, "", ""
		if r.Switch != nil {
			r.Switch.Attempts = 0
		}
		r.enter(Scheduled, "by request", time.Now())
		return nil
	})
}

// Confirm takes an upgrade's word for it: one that is unconfirmed, or in its
// trial, is done.
func (u *Upgrader) Confirm(name string) error {
	u.turn.Lock()
	defer u.turn.Unlock()
	r := u.journal.read().record(name)
	switch {
	case r == nil:
		return fmt.Errorf("plan %s: %w", name, ErrUnknown)
	case r.Stage == Unconfirmed:
		u.done(name, "by request")
		return nil
	case r.Stage == Confirming:
		if a := u.current.Load(); a != nil && a.name == name {
			select {
			case a.confirm <- struct{}{}:
			default: // it was asked before
			}
			return nil
		}
	}
	return fmt.Errorf("%w: plan %s is %s; only an unconfirmed one, or one in its trial, can be confirmed", ErrRefused, name, r.Stage)
}

// act changes one record and tells of it.
func (u *Upgrader) act(name string, f func(*Record) error) error {
	var is *Record
	var refused error
	err := u.journal.update(func(s *state) {
		if is = s.record(name); is != nil {
			refused = f(is)
		}
	})
	switch {
	case is == nil:
		return fmt.Errorf("plan %s: %w", name, ErrUnknown)
	case refused != nil:
		return refused
	case err != nil:
		return err
	}
	u.tell(is)
	u.tidy(is)
	u.wake()
	return nil
}

// Rollback goes back to the binary before the current one, and with data to the
// snapshot that was made then. It returns when the node runs again, or cannot.
// An upgrade that is in its trial is given up.
func (u *Upgrader) Rollback(ctx context.Context, data bool) error {
	if a := u.current.Load(); a != nil {
		if over, err := u.giveUp(ctx, a, data); over || err != nil {
			return err
		}
	}
	r, err := u.previous(data)
	if err != nil {
		return err
	}
	if u.cfg.Gate != nil && u.cfg.Node.Status().State == supervisor.Running {
		if err := u.cfg.Gate(ctx); err != nil {
			return fmt.Errorf("quorum gate: %w", err)
		}
	}
	err = u.cfg.Node.Change(ctx, supervisor.Change{
		Kind: KindRollback, Name: r.Name,
		Apply: func(ctx context.Context) error {
			if _, err := u.previous(data); err != nil { // things may have moved on
				return err
			}
			if err := u.journal.update(func(s *state) {
				r := s.record(r.Name)
				sw := r.Switch
				sw.Step, sw.Why, sw.Data, sw.DataBack, sw.Unrun, sw.End = stepRevert, "by request", data, false, false, RolledBack
				r.enter(Confirming, "being rolled back by request", time.Now())
				s.Node.Clean = false
			}); err != nil {
				return err
			}
			return u.goBack(ctx, r.Name)
		},
		Revert: func(_ context.Context, why error) error {
			if errors.Is(why, supervisor.ErrHold) {
				return why
			}
			return nil
		},
	})
	if r = u.journal.read().record(r.Name); err == nil && data && r.Switch.Snapshot != "" {
		return fmt.Errorf("only the binary went back: %s", r.Reason)
	}
	return err
}

// giveUp ends a trial, and waits for the way back. It reports whether that was
// it: the trial may have ended first.
func (u *Upgrader) giveUp(ctx context.Context, a *attempt, data bool) (bool, error) {
	switch r := a.record(); {
	case r.Stage == Switching:
		return false, ErrBusy
	case data && r.Switch.Snapshot == "":
		return false, fmt.Errorf("rollback of %s: %w: no snapshot was made", a.name, backup.ErrNotFound)
	}
	select {
	case a.abort <- data:
	default:
		return false, ErrBusy // somebody asked before
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !a.ended.Load() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return a.record().Stage == RolledBack, nil
}

// previous returns the record of the current binary, if there is a way back.
func (u *Upgrader) previous(data bool) (*Record, error) {
	current := u.cfg.Home.Current()
	r := u.journal.read().record(current)
	if data {
		if back := u.undone(r); back != nil {
			return back, nil
		}
	}
	switch {
	case current == "genesis":
		return nil, fmt.Errorf("%w: genesis is the first binary of this volume; there is none before it", ErrRefused)
	case r == nil || r.Switch == nil || r.Stage == Switching || r.Stage == Confirming:
		return nil, fmt.Errorf("%w: the journal does not know what was before %s", ErrRefused, current)
	}
	if _, err := os.Stat(u.cfg.Home.binary(r.Switch.Previous)); err != nil {
		return nil, fmt.Errorf("roll back to %s: %w", r.Switch.Previous, err)
	}
	if !data {
		return r, nil
	}
	if r.Switch.Snapshot != "" {
		all, err := u.cfg.Snapshots.List()
		if err != nil {
			return nil, err
		}
		for _, s := range all {
			if s.ID == r.Switch.Snapshot {
				return r, nil
			}
		}
	}
	if r.Switch.Archive != "" {
		return nil, fmt.Errorf("%w: the snapshot before %s is gone; its archive is there: wemixvisor backup restore %s", backup.ErrNotFound, current, r.Switch.Archive)
	}
	return nil, fmt.Errorf("%w: no snapshot was made before %s, or it is gone", backup.ErrNotFound, current)
}

// undone returns a plan whose binary has gone back and whose data has not, if
// that was the last thing done: a validator's data waits to be told.
func (u *Upgrader) undone(current *Record) *Record {
	for _, r := range slices.Backward(u.journal.read().Records) {
		if r.Stage != RolledBack || r.Switch == nil || r.Switch.Snapshot == "" || r.Switch.Previous != u.cfg.Home.folder() {
			continue
		}
		if current == nil || r.Since.After(current.Since) {
			return r
		}
	}
	return nil
}

// Preflight answers whether a plan could be applied: what Await says of its
// binary, and what is known of room, RPC and height now.
func (u *Upgrader) Preflight(ctx context.Context, name string) ([]Check, error) {
	r := u.journal.read().record(name)
	if r == nil {
		return nil, fmt.Errorf("plan %s: %w", name, ErrUnknown)
	}
	in := u.inspect(ctx, u.binary(r))
	checks := in.checks
	add := func(name string, err error, detail string) {
		if err != nil {
			detail = oneLine(err)
		}
		checks = append(checks, Check{name, err == nil, detail})
	}
	if in.sha256 != "" {
		add("checksum", u.matches(ctx, r, in), in.sha256)
	}
	hooks, err := u.hooks(r)
	add("hooks", err, listed(hooks))
	switch {
	case u.cfg.SkipBackup:
		add("space", nil, "no snapshot will be made: only the binary can go back")
	default:
		p, err := u.cfg.Snapshots.Prepare(ctx)
		if err == nil && p.Partial != "" {
			err = fmt.Errorf("only the binary can go back: %s", p.Partial)
		}
		add("space", err, fmt.Sprintf("snapshot by %s, %d bytes to copy while the node is down", p.Method, p.ToCopy))
	}
	f := u.cfg.Facts()
	err = nil
	if f.FirstAnswer.IsZero() {
		err = errors.New("the node's RPC does not answer; without a head a height is never reached")
	}
	add("rpc", err, fmt.Sprintf("head %d", f.Height))
	err = nil
	if r.Stage.Pending() && r.Height > 0 && f.HeadKnown && r.Height <= f.Height {
		err = fmt.Errorf("%w: height %d, head %d; it will be applied as soon as it is ready", ErrPast, r.Height, f.Height)
	}
	detail := strconv.FormatUint(r.Height, 10)
	if e := u.entry(r, f); e.Warning != "" {
		detail += ": " + e.Warning
	}
	add("height", err, detail)
	if st := u.cfg.Node.Status(); st.State == supervisor.Running && !u.cfg.SkipBackup {
		err = nil
		if !Holds(st.Pid, u.cfg.Data) {
			err = fmt.Errorf("the node holds no LOCK below %s; set data-dir or the node's --datadir", u.cfg.Data)
		}
		add("data-dir", err, u.cfg.Data)
	}
	if r.Held || r.Stage == NotReady {
		level.Debug(u.logger).Log("msg", "preflight of a plan that waits", "plan", name, "why", r.Reason)
	}
	return checks, nil
}
