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
	return e
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
