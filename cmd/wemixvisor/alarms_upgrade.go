package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/upgrade"
)

// upgradeAlarms are the conditions that the upgrader knows of, and how grave
// they are.
var upgradeAlarms = []struct {
	key      string
	severity alert.Severity
}{
	{"upgrade_not_ready", alert.Warning},
	{"upgrade_late", alert.Critical},
	{"upgrade_waiting", alert.Warning},
	{"upgrade_held", alert.Critical},
	{"upgrade_rolled_back", alert.Critical},
	{"upgrade_failed", alert.Critical},
	{"upgrade_unconfirmed", alert.Warning},
	{"upgrade_lagging", alert.Critical},
	{"rollback_data", alert.Critical},
	{"rollback_hold", alert.Critical},
	{"node_held", alert.Critical},
	{"journal", alert.Critical},
	{"journal_lost", alert.Critical},
	{"image", alert.Warning},
	{"snapshot_partial", alert.Warning},
}

func (a *alarms) upgradeRules(s *settings) []alert.Rule {
	var rules []alert.Rule
	for _, u := range upgradeAlarms {
		rules = append(rules, alert.Rule{Name: u.key, Severity: u.severity, Check: a.standing(u.key)})
	}
	return append(rules,
		alert.Rule{Name: "upgrade_unprepared", Severity: alert.Critical, Check: a.unprepared(uint64(s.alertUpgrade))},
		alert.Rule{Name: "plan_bad", Severity: alert.Warning, Check: a.plan.Within(s.alertRemember)},
		alert.Rule{Name: "plan_refused", Severity: alert.Warning, Check: a.refused.Within(s.alertRemember)},
	)
}

// standing asks for the alarms of one kind, be they of one plan or several.
func (a *alarms) standing(kind string) func(alert.Scene) string {
	return func(alert.Scene) string {
		if a.upgrader == nil {
			return ""
		}
		var texts []string
		for _, one := range a.upgrader.Alarms() {
			if key, _, _ := strings.Cut(one.Key, "/"); key == kind {
				texts = append(texts, one.Text)
			}
		}
		return strings.Join(texts, "; ")
	}
}

// unprepared asks for a plan whose height is near and whose binary is not ready.
func (a *alarms) unprepared(blocks uint64) func(alert.Scene) string {
	return func(s alert.Scene) string {
		if a.upgrader == nil || blocks == 0 || !s.Facts.Head.Known() {
			return ""
		}
		for _, e := range a.upgrader.List() {
			switch {
			case !e.Stage.Pending() || e.Stage == upgrade.Prepared || e.Stage == upgrade.Waiting:
			case e.Height > s.Facts.Head.Number && e.BlocksLeft <= blocks:
				return fmt.Sprintf("plan %s is %s with %d blocks left: %s", e.Name, e.Stage, e.BlocksLeft, e.Reason)
			}
		}
		return ""
	}
}

// badPlan notes a file that should hold a plan and does not.
func (a *alarms) badPlan(p upgrade.Problem) {
	a.plan.Note(time.Now(), fmt.Sprintf("%s is not accepted: %s", p.File, p.Reason))
}

// refusedPlan notes a plan that does not fit.
func (a *alarms) refusedPlan(p upgrade.Plan, why string) {
	a.refused.Note(time.Now(), fmt.Sprintf("plan %s is refused: %s", p.Name, why))
}
