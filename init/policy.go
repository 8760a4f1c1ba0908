package supervisor

import "time"

// Policy is what of a Config may change while the node runs: how it is stopped,
// and when it is started again.
type Policy struct {
	Grace            time.Duration
	RestartOnFailure bool
	RestartOnSuccess bool
	MaxRestarts      int
	RestartWindow    time.Duration
}

func (c Config) policy() *Policy {
	return &Policy{c.Grace, c.RestartOnFailure, c.RestartOnSuccess, c.MaxRestarts, c.RestartWindow}
}

// SetPolicy sets what the next exit or stop of the node is met with; one that is
// under way keeps its grace. It never blocks.
func (s *Supervisor) SetPolicy(p Policy) { s.policy.Store(&p) }
