package main

import (
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/reaper"
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
	version    string

	oom atomic.Uint64

	mu       sync.Mutex
	exits    map[int]uint64    // by status
	restarts map[string]uint64 // by reason
}

// The reasons of a restart that nobody asked for.
const (
	reasonExit = "exit"
	reasonOOM  = "oom"
)

func newObserver() *observer {
	return &observer{
		exits:    map[int]uint64{0: 0},
		restarts: map[string]uint64{reasonExit: 0, reasonOOM: 0},
	}
}

// ended counts one end of the node.
func (o *observer) ended(e supervisor.Ended) {
	if e.OOM {
		o.oom.Add(1)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.exits[e.Exit.Status()]++
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
	o.mu.Lock()
	defer o.mu.Unlock()
	o.restarts[reason]++
}

// write prints the exposition.
func (o *observer) write(w io.Writer) { writeText(w, o.families()) }

// families returns every metric there is. A figure that is not known yet is
// absent, a counter begins at zero.
func (o *observer) families() []family {
	st, now, e := o.supervisor(), time.Now(), exposition{}

	e.gauge("build_info", "The running wemixvisor.", point{label("version", o.version), 1})
	e.gauge("node_up", "Whether the node's process exists.", point{"", number(st.Pid != 0)})
	var states []point
	for _, state := range supervisor.States {
		states = append(states, point{label("state", string(state)), number(st.State == state)})
	}
	e.gauge("node_state", "The supervisor's state: one of them is 1.", states...)
	if !st.Started.IsZero() {
		e.gauge("node_start_time_seconds", "When the node's process was started, Unix time.", point{"", float64(st.Started.UnixNano()) / 1e9})
	}
	exits, restarts := o.counts()
	e.counter("node_restarts_total", "Restarts that nobody asked for.", restarts...)
	e.counter("node_exits_total", "Ends of the node's process by exit status, 128+n for signal n.", exits...)
	e.counter("node_oom_kills_total", "Ends of the node's process by the kernel for memory.", point{"", float64(o.oom.Load())})

	if res := o.prober.Resources(); !res.At.IsZero() {
		if res.Memory.RSS > 0 {
			e.gauge("node_memory_bytes", "Resident memory of the node's process group.", point{"", float64(res.Memory.RSS)})
		}
		var free, size []point
		for _, d := range res.Disks {
			if d.Err == "" {
				free = append(free, point{label("path", d.Path), float64(d.Free)})
				size = append(size, point{label("path", d.Path), float64(d.Size)})
			}
		}
		e.gauge("disk_free_bytes", "Free bytes of the file system for an unprivileged process.", free...)
		e.gauge("disk_size_bytes", "Size of the file system.", size...)
	}

	facts := o.prober.Facts()
	if facts.Head.Known() {
		e.gauge("node_height", "Number of the newest block known.", point{"", float64(facts.Head.Number)})
		e.gauge("node_head_age_seconds", "Age of the newest block known.", point{"", facts.Head.Age(now).Seconds()})
	}
	if facts.PeersKnown {
		e.gauge("node_peers", "Peers the node is connected to.", point{"", float64(facts.Peers)})
	}
	if facts.HeadKnown {
		e.gauge("node_syncing", "What eth_syncing says; 0 proves nothing.", point{"", number(facts.Syncing)})
	}
	if !facts.LastAnswer.IsZero() {
		e.gauge("rpc_latency_seconds", "How long the last answered RPC call took.", point{"", facts.Latency.Seconds()})
	}
	e.counter("rpc_errors_total", "RPC calls without a usable answer.", point{"", float64(facts.Errors)})

	health := o.prober.Health()
	var checks []point
	for _, name := range probe.Checks {
		if c, ok := health.Checks[name]; ok {
			checks = append(checks, point{label("check", name), number(c.Healthy)})
		}
	}
	e.gauge("check_healthy", "Whether the health check passes.", checks...)

	var fired, firing []point
	for _, t := range o.board.Tallies() {
		fired = append(fired, point{label("alert", t.Name), float64(t.Fired)})
		firing = append(firing, point{label("alert", t.Name), number(t.Firing)})
	}
	e.counter("alerts_total", "How often the alert has fired.", fired...)
	e.gauge("alert_firing", "Whether the alert fires.", firing...)

	told := o.notifier.Counts()
	e.counter("notifications_total", "Messages about alerts, for each channel: sent, tries that failed, dropped for good.",
		point{label("result", "sent"), float64(told.Sent)},
		point{label("result", "failed"), float64(told.Failed)},
		point{label("result", "dropped"), float64(told.Dropped)})

	e.counter("reaped_total", "Orphans collected.", point{"", float64(o.reaper.Reaped())})
	var signals []point
	for n := range o.forwarder.Sent {
		sig := syscall.Signal(n)
		if sent := o.forwarder.Sent[n].Load(); sent > 0 || sig == syscall.SIGUSR1 || sig == syscall.SIGUSR2 {
			signals = append(signals, point{label("signal", supervisor.SignalName(sig)), float64(sent)})
		}
	}
	e.counter("signals_forwarded_total", "Signals passed on to the node's process group.", signals...)
	e.process()
	return e.families
}

// counts returns the counters that have labels, in a stable order.
func (o *observer) counts() (exits, restarts []point) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, reason := range slices.Sorted(maps.Keys(o.restarts)) {
		restarts = append(restarts, point{label("reason", reason), float64(o.restarts[reason])})
	}
	for _, code := range slices.Sorted(maps.Keys(o.exits)) {
		exits = append(exits, point{label("code", strconv.Itoa(code)), float64(o.exits[code])})
	}
	return exits, restarts
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
