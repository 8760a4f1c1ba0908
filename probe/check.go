package probe

import (
	"strings"
	"time"
)

// Check is one thing looked at.
type Check struct {
	Name    string `json:"name"`
	Healthy bool   `json:"healthy"`
	Error   string `json:"error"`
}

// check makes a Check of what is wrong, nothing meaning healthy.
func check(name, wrong string) Check {
	return Check{Name: name, Healthy: wrong == "", Error: wrong}
}

// line is how kube-apiserver writes a check, and so how people read it.
func (c Check) line() string {
	if c.Healthy {
		return "[+]" + c.Name + " ok\n"
	}
	return "[-]" + c.Name + " " + c.Error + "\n"
}

// Health is all checks and their sum.
type Health struct {
	Healthy   bool             `json:"healthy"`
	Timestamp time.Time        `json:"timestamp"`
	Checks    map[string]Check `json:"checks"`
}

// Checks lists the names of all health checks.
var Checks = []string{"process", "rpc_endpoint", "memory", "disk", "network", "sync"}

// Verdict is the answer to one probe.
type Verdict struct {
	OK     bool
	Checks []Check
}

func verdict(checks ...Check) Verdict {
	v := Verdict{OK: true, Checks: checks}
	for _, c := range checks {
		v.OK = v.OK && c.Healthy
	}
	return v
}

// Why names what fails, in one line; empty when nothing does.
func (v Verdict) Why() string {
	var why []string
	for _, c := range v.Checks {
		if !c.Healthy {
			why = append(why, c.Name+": "+c.Error)
		}
	}
	return strings.Join(why, "; ")
}
