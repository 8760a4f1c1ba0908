package probe

import "sync/atomic"

// limit remembers that it was crossed until the value is well inside again, so
// that a value resting at the limit is one crossing and not a hundred.
//
// Requests and the ticker of Run judge it alike; what they store only depends on
// the value, so it does not matter who comes first.
type limit struct{ crossed atomic.Bool }

// over reports whether the limit counts as crossed by a value that is bad
// (beyond it), well (inside by the margin), or neither.
func (l *limit) over(bad, well bool) bool {
	was := l.crossed.Load()
	now := bad || was && !well
	if now != was {
		l.crossed.Store(now)
	}
	return now
}
