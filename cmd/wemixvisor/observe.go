package main

import (
	"io"
	"strconv"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/probe/chain"
	"github.com/wemix/wemixvisor/reaper"
	"github.com/wemix/wemixvisor/upgrade"
)

// observer names every metric and fills them from what actors publish. A
// scrape reads atomics and asks nobody.
type observer struct {
	supervisor func() supervisor.Status
	prober     *probe.Prober
	reaper     *reaper.Reaper
	forwarder  *supervisor.Forwarder
	board      *alert.Board
	notifier   *alert.Notifier
	consensus  func() chain.Consensus
	backups    *upgrade.Backups
	version    string
	plans      func() []upgrade.Entry
	downtime   *histogram

	set *metrics.Set // what is counted here, and not where it happens
}

// The reasons of a restart that nobody asked for.
const (
	reasonExit = "exit"
	reasonOOM  = "oom"
)

func newObserver() *observer {
	o := &observer{set: metrics.NewSet(), downtime: newHistogram(downtimeBounds...)}
	for _, kind := range []string{"", "success_", "failed_", "rolled_back_"} {
		o.upgrades(kind)
	}
	o.exits(0)
	o.restarts(reasonExit)
	o.restarts(reasonOOM)
	o.oom()
	return o
}

func (o *observer) exits(status int) *metrics.Counter {
	return o.set.GetOrCreateCounter("wemixvisor_node_exits_total" + label("code", strconv.Itoa(status)))
}

func (o *observer) restarts(reason string) *metrics.Counter {
	return o.set.GetOrCreateCounter("wemixvisor_node_restarts_total" + label("reason", reason))
}

func (o *observer) oom() *metrics.Counter {
	return o.set.GetOrCreateCounter("wemixvisor_node_oom_kills_total")
}

// ended counts one end of the node.
func (o *observer) ended(e supervisor.Ended) {
	if e.OOM {
		o.oom().Inc()
	}
	o.exits(e.Exit.Status()).Inc()
}

// transition counts restarts: back-off is entered once for each.
func (o *observer) transition(from, to supervisor.Status) {
	if to.Restarts == from.Restarts {
		return
	}
	reason := reasonExit
	if to.Last != nil && to.Last.OOM {
		reason = reasonOOM
	}
	o.restarts(reason).Inc()
}

// write prints the exposition.
func (o *observer) write(w io.Writer) { writeText(w, o.families()) }

// families returns every metric there is. A figure that is not known yet is
// absent, a counter begins at zero.
func (o *observer) families() []family {
	st, now, e := o.supervisor(), time.Now(), exposition{}

	e.gauge("build_info", "The running wemixvisor.", point{labels: label("version", o.version), value: 1})
	e.gauge("node_up", "Whether the node's process exists.", point{value: number(st.Pid != 0)})
	var states []point
	for _, state := range supervisor.States {
		states = append(states, point{labels: label("state", string(state)), value: number(st.State == state)})
	}
	e.gauge("node_state", "The supervisor's state: one of them is 1.", states...)
	if !st.Started.IsZero() {
		e.gauge("node_start_time_seconds", "When the node's process was started, Unix time.", point{value: float64(st.Started.UnixNano()) / 1e9})
	}
	e.set(o.set,
		family{Name: "wemixvisor_node_restarts_total", Type: "counter", Help: "Restarts that nobody asked for."},
		family{Name: "wemixvisor_node_exits_total", Type: "counter", Help: "Ends of the node's process by exit status, 128+n for signal n."},
		family{Name: "wemixvisor_node_oom_kills_total", Type: "counter", Help: "Ends of the node's process by the kernel for memory."})

	if res := o.prober.Resources(); !res.At.IsZero() {
		if res.Memory.RSS > 0 && st.Pid != 0 { // the sample is older than the stop
			e.gauge("node_memory_bytes", "Resident memory of the node's process group.", point{value: float64(res.Memory.RSS)})
		}
		var free, size []point
		for _, d := range res.Disks {
			if d.Err == "" {
				free = append(free, point{labels: label("path", d.Path), value: float64(d.Free)})
				size = append(size, point{labels: label("path", d.Path), value: float64(d.Size)})
			}
		}
		e.gauge("disk_free_bytes", "Free bytes of the file system for an unprivileged process.", free...)
		e.gauge("disk_size_bytes", "Size of the file system.", size...)
	}

	facts := o.prober.Facts()
	if facts.Head.Known() {
		e.gauge("node_height", "Number of the newest block known.", point{value: float64(facts.Head.Number)})
		e.gauge("node_head_age_seconds", "Age of the newest block known.", point{value: facts.Head.Age(now).Seconds()})
	}
	if facts.PeersKnown {
		e.gauge("node_peers", "Peers the node is connected to.", point{value: float64(facts.Peers)})
	}
	if facts.HeadKnown {
		e.gauge("node_syncing", "What eth_syncing says; 0 proves nothing.", point{value: number(facts.Syncing)})
	}
	if !facts.LastAnswer.IsZero() {
		e.gauge("rpc_latency_seconds", "How long the last answered RPC call took.", point{value: facts.Latency.Seconds()})
	}
	e.counter("rpc_errors_total", "RPC calls without a usable answer.", point{value: float64(facts.Errors)})

	if c := o.consensus(); c.Kind != "" {
		e.gauge("validators_active", "Validators that sealed one of the last blocks, of which there are as many as validators.", point{value: float64(c.Active())})
		e.gauge("validators_quorum", "How many validators it takes to go on.", point{value: float64(c.Quorum)})
		e.gauge("validator_is_active", "Whether the node is one of the active validators.", point{value: number(c.IsActive())})
	}

	health := o.prober.Health()
	var checks []point
	for _, name := range probe.Checks {
		if c, ok := health.Checks[name]; ok {
			checks = append(checks, point{labels: label("check", name), value: number(c.Healthy)})
		}
	}
	e.gauge("check_healthy", "Whether the health check passes.", checks...)

	e.addUpgrades(o)

	var fired, firing []point
	for _, t := range o.board.Tallies() {
		fired = append(fired, point{labels: label("alert", t.Name), value: float64(t.Fired)})
		firing = append(firing, point{labels: label("alert", t.Name), value: number(t.Firing)})
	}
	e.counter("alerts_total", "How often the alert has fired.", fired...)
	e.gauge("alert_firing", "Whether the alert fires.", firing...)

	told := o.notifier.Counts()
	e.counter("notifications_total", "Messages about alerts, for each channel: sent, tries that failed, dropped for good.",
		point{labels: label("result", "sent"), value: float64(told.Sent)},
		point{labels: label("result", "failed"), value: float64(told.Failed)},
		point{labels: label("result", "dropped"), value: float64(told.Dropped)})

	e.backup(o.backups.Figures())

	e.counter("reaped_total", "Orphans collected.", point{value: float64(o.reaper.Reaped())})
	var signals []point
	for n := range o.forwarder.Sent {
		sig := syscall.Signal(n)
		if sent := o.forwarder.Sent[n].Load(); sent > 0 || sig == syscall.SIGUSR1 || sig == syscall.SIGUSR2 {
			signals = append(signals, point{labels: label("signal", supervisor.SignalName(sig)), value: float64(sent)})
		}
	}
	e.counter("signals_forwarded_total", "Signals passed on to the node's process group.", signals...)
	e.process()
	return e.families
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
