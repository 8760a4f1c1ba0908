package upgrade

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log/level"
)

// Errors of plans that are well-formed and not wanted.
var (
	// ErrRefused says that a plan does not fit what is scheduled or was done.
	ErrRefused = errors.New("plan refused")
	// ErrPast says that the chain is past a plan's height.
	ErrPast = errors.New("the chain is past it")
	// ErrUnknown says that there is no plan of that name.
	ErrUnknown = errors.New("no such plan")
)

// verdict is what is to be done about a plan that lies on the volume.
type verdict int

const (
	ignore  verdict = iota // it is known
	touch                  // it is known, from other files
	accept                 // it is new
	replace                // it takes the place of what its file said before
	moot                   // it is new, and comes too late
	held                   // it is new, but maybe only to us
	refuse
)

// judge decides about one filing among all that lie on the volume.
func (s *state) judge(f Filing, all []Filing, current string) (verdict, string) {
	r := s.record(f.Name)
	if r != nil && r.Digest == f.Digest {
		switch {
		case r.Stage.Pending():
			if !slices.Equal(r.Files, f.Files) {
				return touch, ""
			}
			return ignore, ""
		case r.Stage == Cancelled && r.Withdrawn,
			(r.Stage == Cancelled || r.Stage == Superseded) && f.Filed.After(r.Since):
			// somebody wants it again
		case (r.Stage == RolledBack || r.Stage == Failed) && f.Filed.After(r.Since):
			return refuse, fmt.Sprintf("it %s; to try it again: wemixvisor upgrade retry %s", past(r), r.Name)
		default:
			return ignore, ""
		}
	} else if r != nil {
		lies := slices.ContainsFunc(all, func(o Filing) bool { return o.Digest == r.Digest })
		switch {
		case r.Stage.Pending() && !lies:
			if v, why := s.fits(f); v != accept {
				return v, why
			}
			return replace, ""
		case r.Stage.Pending():
			return refuse, fmt.Sprintf("%s says otherwise; two plans of one name", strings.Join(r.Files, ", "))
		case r.Stage == Switching || r.Stage == Confirming:
			return refuse, "it is being applied as it was planned before"
		case r.Stage == Done || r.Stage == Unconfirmed:
			return refuse, fmt.Sprintf("that name %s; choose another", past(r))
		case r.Stage == RolledBack || r.Stage == Failed:
			return refuse, fmt.Sprintf("that name %s; choose another, or try the old plan again: wemixvisor upgrade retry %s", past(r), r.Name)
		}
	}
	if r == nil && current == f.Name { // cosmovisor leaves its trigger file behind
		return moot, "it was in use before this journal began"
	}
	v, why := s.fits(f)
	if v == accept && s.Lost {
		return held, "the journal was lost, so it may have been applied before; if not: wemixvisor upgrade retry " + f.Name
	}
	return v, why
}

// past words how a plan ended.
func past(r *Record) string {
	words := map[Stage]string{
		Done: "was applied", Unconfirmed: "was applied", RolledBack: "was rolled back", Failed: "failed",
	}
	return words[r.Stage] + " on " + r.Since.UTC().Format("2006-01-02 15:04:05Z")
}

// fits compares a new plan with the others.
func (s *state) fits(f Filing) (verdict, string) {
	for _, r := range s.Records {
		if f.Height == 0 || r.Name == f.Name {
			continue
		}
		taken := r.Stage.Pending() || r.Stage == Switching || r.Stage == Confirming
		if taken && r.Height == f.Height {
			return refuse, fmt.Sprintf("%s is planned for height %d already", r.Name, r.Height)
		}
		applied := r.Stage == Done || r.Stage == Unconfirmed || r.Stage == Confirming
		if applied && r.Height > f.Height {
			return moot, fmt.Sprintf("%s, for height %d, was applied before it came", r.Name, r.Height)
		}
	}
	return accept, ""
}

// Look takes up what lies on the volume now: who has just filed something need
// not wait for the next look of the queue.
func (u *Upgrader) Look() {
	u.turn.Lock() // first: what is filed in a turn of its own is seen whole
	defer u.turn.Unlock()
	_ = u.reconcile(u.cfg.Queue.take()) // Run looks again
}

// reconcile brings the journal up to what lies on the volume. Where the disk does
// not take that, it has been logged, and is tried again.
func (u *Upgrader) reconcile(filings []Filing) error {
	facts := u.cfg.Facts()
	current := u.cfg.Home.Current()
	now := time.Now()
	var news []*Record
	changes := func(s *state) bool {
		news = nil
		changed := s.Lost
		refused := map[string]string{}
		withdraw := func(but ...string) { // what nobody's file says any more
			for _, r := range s.Records {
				if !r.Stage.Pending() || slices.Contains(but, r.Name) ||
					slices.ContainsFunc(filings, func(f Filing) bool { return f.Digest == r.Digest }) {
					continue
				}
				r.Withdrawn = true
				r.enter(Cancelled, "withdrawn: it no longer lies in "+strings.Join(r.Files, ", "), now)
				news, changed = append(news, r), true
			}
		}
		var names []string
		for _, f := range filings {
			names = append(names, f.Name)
		}
		withdraw(names...) // first: another plan may come in its place, for the same height
		for _, f := range filings {
			v, why := s.judge(f, filings, current)
			switch v {
			case ignore:
				continue
			case refuse:
				refused[f.Digest] = why
				u.refuse(f, why)
				continue
			case touch:
				r := s.record(f.Name)
				r.Files, r.Batch = f.Files, f.Batch
				changed = true
				continue
			}
			r := &Record{}
			if v == replace {
				r = s.record(f.Name)
			} else {
				s.Records = append(s.Records, r)
			}
			steps := r.Steps
			*r = Record{Plan: f.Plan, Digest: f.Digest, Files: f.Files, Batch: f.Batch, After: facts.Height, Steps: steps}
			switch {
			case v == moot && current == f.Name:
				r.enter(Done, why, now)
			case v == moot:
				r.enter(Superseded, why, now)
			default:
				r.Held = v == held
				r.enter(Scheduled, why, now)
			}
			news, changed = append(news, r), true
		}
		withdraw()
		s.Lost = false
		u.refused = refused
		return changed
	}
	trial, err := u.journal.copy()
	if err != nil || !changes(trial) {
		return err
	}
	if err := u.journal.update(func(s *state) { changes(s) }); err != nil {
		if !u.missed {
			level.Error(u.logger).Log("msg", "plans not taken; trying again", "err", err)
		}
		u.missed = true
		u.alarms.fire("journal", "the journal cannot be written: "+err.Error(), true)
		return err
	}
	u.missed = false
	for _, r := range news {
		if r.Stage == Scheduled {
			delete(u.retries, r.Name)
		}
		u.tell(r)
		u.tidy(r)
	}
	return nil
}

// refuse says once why a plan is not taken.
func (u *Upgrader) refuse(f Filing, why string) {
	if u.refused[f.Digest] == why {
		return
	}
	u.refused[f.Digest] = why
	level.Warn(u.logger).Log("msg", "plan refused", "plan", f.Name, "height", f.Height, "files", strings.Join(f.Files, ","), "why", why)
	if u.cfg.OnRefused != nil {
		u.cfg.OnRefused(f.Plan, why)
	}
}

// tidy takes a plan that is over out of the queue: what lies there is still to
// come. Foreign files stay.
func (u *Upgrader) tidy(r *Record) {
	if !r.Stage.Over() {
		return
	}
	if err := u.cfg.Home.Withdraw(r.Name); err != nil {
		level.Warn(u.logger).Log("msg", "finished plan stays in the queue", "plan", r.Name, "err", err)
	}
}
