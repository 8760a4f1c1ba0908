package upgrade

import (
	"path/filepath"
	"testing"
	"time"

	supervisor "github.com/wemix/wemixvisor/init"
)

// How long the node was down is told in parts, which say what it was for: what an
// operator wants to wait is not the node's fault.
func TestDowntimeIsToldInParts(t *testing.T) {
	t.Parallel()
	const hook, delay = 200 * time.Millisecond, 300 * time.Millisecond
	told := make(chan Downtime, 10)
	g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) {
		c.RestartDelay = delay
		c.OnSwitch = func(_ string, d Downtime) { told <- d }
	})
	g.stage("v2", newNode)
	put(t, filepath.Join(g.home.Dir(), "upgrades/v2/pre-upgrade"), "#!/bin/sh\nsleep 0.2")
	g.start()
	g.plan(`{"name":"v2","height":3}`)
	e := g.becomes("v2", Done)
	d := e.Switch.Downtime
	if d.Hook < hook || d.Start < delay || d.Stop <= 0 || d.Snapshot <= 0 {
		t.Errorf("have %+v", d)
	}
	if have := <-told; have != d || len(told) > 0 {
		t.Errorf("want %+v told once, have %+v", d, have)
	}
	down := e.Steps[len(e.Steps)-1].At.Sub(e.Switch.Began) // until done, the trial too
	if d.Total() > down {
		t.Errorf("want less than %s, have %s", down, d.Total())
	}
}
