package probe

import "time"

// Check is one thing looked at.
type Check struct {
	Name    string `json:"name"`
	Healthy bool   `json:"healthy"`
	Error   string `json:"error"`
}

// Health is all checks and their sum.
type Health struct {
	Healthy   bool             `json:"healthy"`
	Timestamp time.Time        `json:"timestamp"`
	Checks    map[string]Check `json:"checks"`
}

// Verdict is the answer to one probe.
type Verdict struct {
	OK     bool
	Checks []Check
}

// Checks lists the names of all health checks.
var Checks = []string{"process", "rpc_endpoint", "memory", "disk", "network", "sync"}
