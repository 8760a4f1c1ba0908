package main

import (
	"github.com/VictoriaMetrics/metrics"

	"github.com/wemix/wemixvisor/upgrade"
)

// downtimeBounds are seconds: a script's switch takes a tenth, a node that
// writes its state takes minutes.
var downtimeBounds = []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

func (o *observer) upgrades(kind string) *metrics.Counter {
	return o.set.GetOrCreateCounter("wemixvisor_upgrades_" + kind + "total")
}

// upgraded counts what becomes of plans.
func (o *observer) upgraded(e upgrade.Event) {
	switch e.Stage {
	case upgrade.Switching:
		o.upgrades("").Inc()
	case upgrade.Done:
		o.upgrades("success_").Inc()
	case upgrade.Failed:
		o.upgrades("failed_").Inc()
	case upgrade.RolledBack:
		o.upgrades("rolled_back_").Inc()
	}
}

// addUpgrades adds what is known of upgrades.
func (e *exposition) addUpgrades(o *observer) {
	e.set(o.set,
		family{Name: "wemixvisor_upgrades_total", Type: "counter", Help: "Switches to another binary that were begun."},
		family{Name: "wemixvisor_upgrades_success_total", Type: "counter", Help: "Upgrades whose binary passed its trial."},
		family{Name: "wemixvisor_upgrades_failed_total", Type: "counter", Help: "Upgrades that were given up before the new binary ran, or that nothing went back of."},
		family{Name: "wemixvisor_upgrades_rolled_back_total", Type: "counter", Help: "Upgrades that were taken back."})
	e.add("wemixvisor_upgrade_downtime_seconds", "histogram", "From the order to stop until the new binary runs.", o.downtime.points())
	var next *upgrade.Entry
	pending := 0
	for _, p := range o.plans() {
		if p.Stage.Pending() {
			if pending++; next == nil {
				next = &p
			}
		}
	}
	e.gauge("upgrades_pending", "Plans that are still to be applied.", point{value: float64(pending)})
	if next != nil {
		ready := next.Stage == upgrade.Prepared || next.Stage == upgrade.Waiting && next.SHA256 != ""
		e.gauge("upgrade_plan_height", "Height of the next plan; 0 means now.", point{value: float64(next.Height)})
		e.gauge("upgrade_plan_ready", "Whether the next plan's binary is in place and checked.", point{value: number(ready)})
	}
}
