package upgrade

import (
	"cmp"
	"slices"
	"time"
)

// view is what is known at one moment, as far as plans depend on it.
type view struct {
	now    time.Time
	head   uint64        // the highest block there may be
	known  bool          // there is a head
	still  time.Duration // how long the node has answered and the head has not moved
	halted time.Duration // how long that must be for at halt
}

// due reports whether the plan's time and height have come. Never below the
// height: a head that is not known is below everything.
func (v view) due(r *Record) bool {
	if v.now.Before(r.Time) {
		return false
	}
	switch {
	case r.Height == 0:
		return true
	case !v.known:
		return false
	case v.head >= r.Height:
		return true
	}
	return r.At == AtHalt && v.head == r.Height-1 && v.still >= v.halted
}

// ready reports whether the plan's binary is in place and was checked.
func (r *Record) ready() bool {
	return (r.Stage == Prepared || r.Stage == Waiting) && r.SHA256 != ""
}

// choose returns the plan to be applied now, or nil, and those that are due and
// not ready.
//
// It is the highest due one that is ready: a node that syncs through several
// heights need not run each binary. But one with a hook, or that waits for a
// halt, is never skipped: what it does to the data must be done. hooked tells
// which have one.
func choose(records []*Record, v view, hooked func(*Record) bool) (pick *Record, late []*Record) {
	var due []*Record
	for _, r := range records {
		if r.Stage.Pending() && !r.Held && v.due(r) {
			due = append(due, r)
			if !r.ready() {
				late = append(late, r)
			}
		}
	}
	slices.SortStableFunc(due, func(a, b *Record) int { return cmp.Compare(a.order(), b.order()) })
	for _, r := range slices.Backward(due) {
		if r.ready() {
			pick = r
			break
		}
	}
	if pick == nil {
		return nil, late
	}
	for _, r := range due {
		if r == pick {
			break
		}
		if r.At == AtHalt || hooked(r) {
			if !r.ready() {
				return nil, late
			}
			return r, late
		}
	}
	return pick, late
}

// supersedes reports whether applying a makes b, which is pending, moot.
func supersedes(a, b *Record) bool {
	if b == a || !b.Stage.Pending() {
		return false
	}
	return b.order() < a.order() || b.order() == a.order() && b.Height == 0 && b.Since.Before(a.Since)
}

// pace is how long the chain takes for a block, as seen of one node process.
type pace struct {
	process     time.Time
	first, last Facts
}

func (p *pace) sample(f Facts) {
	if !f.HeadKnown {
		return
	}
	if !p.process.Equal(f.Started) || p.first.Seen.IsZero() || f.Height < p.first.Height {
		p.process, p.first = f.Started, f
	}
	p.last = f
}

// block returns the time of one block; 0 when it is not known.
func (p *pace) block() time.Duration {
	n := p.last.Height - p.first.Height
	if p.first.Seen.IsZero() || p.last.Height <= p.first.Height {
		return 0
	}
	return p.last.Seen.Sub(p.first.Seen) / time.Duration(n)
}

// exits are those that nobody asked for, at one head.
type exits struct {
	head  uint64
	count int
}

// reach returns the highest block there may have been when the node exited: we
// do not see every one, and a node that stops at a height does so at once.
// exitNear is how far below a plan's height the second exit at the same head
// counts as having come to it.
const exitNear = 10

func reach(f Facts, block time.Duration, at time.Time) uint64 {
	reach := f.Height + 2
	if block > 0 {
		if since := at.Sub(f.Seen); since > 0 {
			reach += uint64(since / block)
		}
	}
	return reach
}
