package main

import (
	"bytes"
	"fmt"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/upgrade"
	"github.com/wemix/wemixvisor/upgrade/governance"
)

// alarms are what happens to the node and is worth an alert.
type alarms struct {
	oom, killed, unclean alert.Event
	read                 int64 // of the node's output; the board's alone

	plan, refused alert.Event
	upgrader      *upgrade.Upgrader // nil: none yet

	filed, ignored, withdrawn alert.Event // plans of governance
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
		alert.Rule{Name: "governance_scheduled", Severity: alert.Warning, Check: a.filed.Within(s.alertRemember)},
		alert.Rule{Name: "governance_ignored", Severity: alert.Warning, Check: a.ignored.Within(s.alertRemember)},
		alert.Rule{Name: "governance_withdrawn", Severity: alert.Critical, Check: a.withdrawn.Within(s.alertRemember)},
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

// voted looks at what became of a proposal. One that was not filed is worth no
// alert when the chain takes it back.
func (a *alarms) voted(e governance.Event) {
	switch {
	case e.Stage == governance.Scheduled:
		a.filed.Note(e.At, fmt.Sprintf("governance scheduled upgrade %s at height %d (proposal %s)", e.Name, e.Height, e.Proposal))
	case e.Stage == governance.Withdrawn && e.Name != "":
		a.withdrawn.Note(e.At, fmt.Sprintf("upgrade %s at height %d (proposal %s): %s", e.Name, e.Height, e.Proposal, e.Reason))
	case e.Stage == governance.Ignored:
		a.ignored.Note(e.At, fmt.Sprintf("proposal %s has passed, and its plan is not taken: %s", e.Proposal, e.Reason))
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
