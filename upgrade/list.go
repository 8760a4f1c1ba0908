package upgrade

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Entry is one plan as people and machines see it.
type Entry struct {
	Record
	Binary     string     `json:"binary"`      // where it lies, or is expected
	BlocksLeft uint64     `json:"blocks_left"` // until its height
	ETA        *time.Time `json:"eta"`         // null when nobody can tell
	Warning    string     `json:"warning"`     // what speaks against it, and forbids nothing
}

// List returns every plan, pending ones first by height, then the others, the
// newest first. It never waits.
func (u *Upgrader) List() []Entry {
	f := u.cfg.Facts()
	s := u.journal.read()
	var pending, over []Entry
	for _, r := range s.Records {
		e := u.entry(r, f)
		if r.Stage.Over() {
			over = append(over, e)
		} else {
			pending = append(pending, e)
		}
	}
	slices.SortStableFunc(pending, func(a, b Entry) int { return cmp.Compare(a.order(), b.order()) })
	slices.Reverse(over)
	return append(pending, over...)
}

// Entry returns the newest plan of that name, or [ErrUnknown].
func (u *Upgrader) Entry(name string) (Entry, error) {
	r := u.journal.read().record(name)
	if r == nil {
		return Entry{}, fmt.Errorf("plan %s: %w", name, ErrUnknown)
	}
	return u.entry(r, u.cfg.Facts()), nil
}

func (u *Upgrader) entry(r *Record, f Facts) Entry {
	e := Entry{Record: *r, Binary: u.binary(r)}
	if r.Stage.Pending() && f.Known && r.Height > f.Height {
		e.BlocksLeft = r.Height - f.Height
		if block := time.Duration(u.block.Load()); block > 0 && e.BlocksLeft < uint64(10*365*24*time.Hour/block) {
			at := f.Seen.Add(time.Duration(e.BlocksLeft) * block).UTC().Truncate(time.Second)
			if at.Before(r.Time) {
				at = r.Time
			}
			e.ETA = &at
		}
	}
	if r.Stage.Pending() && r.Height > 0 {
		e.Warning = crossed(u.known(), f, r.Height, e.ETA)
	}
	return e
}

// known are the forks that the running binary knows.
func (u *Upgrader) known() []Fork {
	if forks := u.forks.Load(); forks != nil {
		return *forks
	}
	return nil
}

// crossed warns of a fork to come that is not past height, or not past eta where
// it has a time: the binary that runs now would go through it.
func crossed(forks []Fork, f Facts, height uint64, eta *time.Time) string {
	for _, fork := range forks {
		ahead, at := fork.Height > f.Height && fork.Height <= height, fmt.Sprintf("block %d", fork.Height)
		if !fork.Time.IsZero() {
			ahead, at = eta != nil && fork.Time.After(f.Time) && !fork.Time.After(*eta), fork.Time.UTC().Format(time.RFC3339)
		}
		if ahead {
			return fmt.Sprintf("the running binary goes through the fork %s at %s first; if the new one is meant for it, plan for a lower height", fork.Name, at)
		}
	}
	return ""
}

// Downloading returns how far the download that is under way has come, or nil.
func (u *Upgrader) Downloading() *Download { return u.download.Load() }

// Alarms returns the conditions that fire at present.
func (u *Upgrader) Alarms() []Alarm {
	u.alarms.mu.Lock()
	defer u.alarms.mu.Unlock()
	var all []Alarm
	for _, a := range u.alarms.list {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b Alarm) int { return strings.Compare(a.Key, b.Key) })
	return all
}
