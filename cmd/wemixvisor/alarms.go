package main

import (
	"bytes"
	"fmt"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/upgrade"
)

// alarms are what happens to the node and is worth an alert.
type alarms struct {
	oom, killed, unclean alert.Event
	read                 int64 // of the node's output; the board's alone

	plan, refused alert.Event
	upgrader      *upgrade.Upgrader // nil: none yet
}

// rules lists every alert there is.
func (a *alarms) rules(s *settings, tail *supervisor.Tail) []alert.Rule {
	headAge := s.alertHeadAge
	if s.readyMaxHeadAge == 0 {
		headAge = 0
	}
	rules := append(alert.NodeRules(alert.Limits{
		For:           s.alertFor,
		HeadAge:       headAge,
		Lag:           uint64(s.alertMaxLag),
		Peers:         s.alertMinPeers,
		Free:          s.alertMinFree,
		FullWithin:    s.alertFullWithin,
		Restarts:      s.maxRestarts,
		RestartWindow: s.restartWindow,
	}),
		alert.Rule{Name: "out_of_memory", Severity: alert.Critical, Check: a.oom.Within(s.alertRemember)},
		alert.Rule{Name: "node_killed", Severity: alert.Critical, Check: a.killed.Within(s.alertRemember)},
		alert.Rule{Name: "unclean_shutdown", Severity: alert.Warning, Check: a.confessed(tail, a.unclean.Within(s.alertRemember))},
	)
	return append(rules, a.upgradeRules(s)...)
}

// ended looks at how one process of the node ended.
func (a *alarms) ended(e supervisor.Ended) {
	status := e.Exit.Status()
	switch {
	case e.OOM:
		a.oom.Note(e.At, "the kernel killed the node for its memory")
	case e.Killed:
		a.killed.Note(e.At, fmt.Sprintf("node needed SIGKILL after its grace (%s); it may have lost its last blocks", e.Exit))
	case status > 128: // of a signal, or of a script whose program did
		a.unclean.Note(e.At, fmt.Sprintf("node ended without shutting down: %s", e.Exit))
	}
}

// confession is what nodes of the geth family write at the start after an end
// they could not prepare for.
const confession = "Unclean shutdown detected"

// confessed reads the node's output for its own word on how it ended before.
func (a *alarms) confessed(tail *supervisor.Tail, next func(alert.Scene) string) func(alert.Scene) string {
	return func(s alert.Scene) string {
		text, end, _ := tail.From(a.read)
		if line := bytes.LastIndexByte(text, '\n'); line >= 0 {
			a.read = end - int64(len(text)-line-1) // the rest of a line is still to come
			if bytes.Contains(text[:line], []byte(confession)) {
				a.unclean.Note(s.Now, "node says that it was not shut down cleanly before")
			}
		}
		return next(s)
	}
}
