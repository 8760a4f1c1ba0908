package main

import (
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/reaper"
)

// observer names every metric and fills them from what actors publish. A
// scrape reads atomics and asks nobody.
type observer struct {
	supervisor func() supervisor.Status
	prober     *probe.Prober
	reaper     *reaper.Reaper
	forwarder  *supervisor.Forwarder
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
	metrics.ExposeMetadata(true)
	return &observer{
		exits:    map[int]uint64{},
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
func (o *observer) write(w io.Writer) {
	st, now := o.supervisor(), time.Now()
	gauge := func(name string, v float64) {
		metrics.WriteGaugeFloat64(w, "wemixvisor_"+name, v)
	}
	count := func(name string, v uint64) {
		metrics.WriteCounterUint64(w, "wemixvisor_"+name, v)
	}
	gauge(`build_info{version=`+strconv.Quote(o.version)+`}`, 1)
	gauge("node_up", number(st.Pid != 0))
	for _, state := range supervisor.States {
		gauge(`node_state{state="`+string(state)+`"}`, number(st.State == state))
	}
	if !st.Started.IsZero() {
		gauge("node_start_time_seconds", float64(st.Started.UnixNano())/1e9)
	}
	o.mu.Lock()
	for reason, n := range o.restarts {
		count(`node_restarts_total{reason="`+reason+`"}`, n)
	}
	if len(o.exits) == 0 {
		count(`node_exits_total{code="0"}`, 0)
	}
	for code, n := range o.exits {
		count(`node_exits_total{code="`+strconv.Itoa(code)+`"}`, n)
	}
	o.mu.Unlock()
	count("node_oom_kills_total", o.oom.Load())

	facts := o.prober.Facts()
	if facts.Head.Known() {
		gauge("node_height", float64(facts.Head.Number))
		gauge("node_head_age_seconds", facts.Head.Age(now).Seconds())
	}
	if facts.PeersKnown {
		gauge("node_peers", float64(facts.Peers))
	}
	if facts.HeadKnown {
		gauge("node_syncing", number(facts.Syncing))
	}
	if !facts.LastAnswer.IsZero() {
		gauge("rpc_latency_seconds", facts.Latency.Seconds())
	}
	count("rpc_errors_total", facts.Errors)

	res := o.prober.Resources()
	if res.Memory.RSS > 0 {
		gauge("node_memory_bytes", float64(res.Memory.RSS))
	}
	for _, d := range res.Disks {
		if d.Err == "" {
			gauge(`disk_free_bytes{path=`+strconv.Quote(d.Path)+`}`, float64(d.Free))
		}
	}
	for _, d := range res.Disks {
		if d.Err == "" {
			gauge(`disk_size_bytes{path=`+strconv.Quote(d.Path)+`}`, float64(d.Size))
		}
	}
	health := o.prober.Health()
	for _, name := range probe.Checks {
		if c, ok := health.Checks[name]; ok {
			gauge(`check_healthy{check="`+name+`"}`, number(c.Healthy))
		}
	}
	count("reaped_total", o.reaper.Reaped())
	for sig := range o.forwarder.Sent {
		if n := o.forwarder.Sent[sig].Load(); n > 0 || sig == 10 || sig == 12 {
			count(`signals_forwarded_total{signal=`+strconv.Quote(supervisor.SignalName(syscall.Signal(sig)))+`}`, n)
		}
	}
	metrics.WriteProcessMetrics(w)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
