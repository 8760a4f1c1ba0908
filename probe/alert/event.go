package alert

import (
	"sync/atomic"
	"time"
)

// Event is something that happens rather than lasts. Its zero value has not
// happened. Anybody may note it.
type Event struct{ last atomic.Pointer[occurrence] }

type occurrence struct {
	at  time.Time
	why string
}

// Note says that it has happened, and why.
func (e *Event) Note(at time.Time, why string) { e.last.Store(&occurrence{at, why}) }

// Within makes a rule's question of it: has it happened within d? One that
// happens again meanwhile keeps its alert firing.
func (e *Event) Within(d time.Duration) func(Scene) string {
	return func(s Scene) string {
		if last := e.last.Load(); last != nil && s.Now.Sub(last.at) < d {
			return last.why
		}
		return ""
	}
}
