package alert

import "time"

// Severity says how soon somebody must look.
type Severity string

// Critical wakes people: the node is down, or will be. Warning can wait for the
// morning.
const (
	Critical Severity = "critical"
	Warning  Severity = "warning"
)

// Alert is one firing of a rule, as status and API show it. It is a value.
type Alert struct {
	Name     string     `json:"name"`
	Severity Severity   `json:"severity"`
	State    string     `json:"state"`    // firing or resolved
	Since    time.Time  `json:"since"`    // when it fired
	Resolved *time.Time `json:"resolved"` // null while it fires
	Summary  string     `json:"summary"`  // why; the last word while it fired
}

// Firing reports whether it still does.
func (a Alert) Firing() bool { return a.Resolved == nil }
