package supervisor

import (
	"math/rand/v2"
	"time"
)

// Back-off between restarts: the first waits about a second, each further one
// within the window twice as long, at most a minute.
const (
	firstDelay = time.Second
	lastDelay  = time.Minute
)

// budget counts the restarts of the last window. A run that outlasts the
// window is a stable one: the restarts before it are forgotten, and the
// back-off starts anew.
type budget struct {
	max    int
	window time.Duration
	spent  []time.Time
}

// take spends one restart at now and returns how long to wait before it, or
// false when the window has none left.
func (b *budget) take(now time.Time) (time.Duration, bool) {
	kept := b.spent[:0]
	for _, t := range b.spent {
		if now.Sub(t) < b.window {
			kept = append(kept, t)
		}
	}
	b.spent = kept
	if len(b.spent) >= b.max {
		return 0, false
	}
	delay := lastDelay
	if n := len(b.spent); n < 6 {
		delay = firstDelay << n
	}
	b.spent = append(b.spent, now)
	return jitter(delay), true
}

// jitter spreads d over ±20 %, so that nodes that fell together do not rise
// together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}
