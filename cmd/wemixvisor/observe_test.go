package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/probe/chain"
	"github.com/wemix/wemixvisor/reaper"
	"github.com/wemix/wemixvisor/upgrade"
)

// observed returns an observer of a node that was pushed everything there is.
func observed() *observer {
	o := newObserver()
	p := probe.New(probe.Config{})
	now := time.Now()
	p.SetNode(probe.Node{State: "running", Started: now})
	p.SetFacts(chain.Facts{
		Started: now, FirstAnswer: now, LastAnswer: now, PeersKnown: true, HeadKnown: true, Latency: time.Millisecond,
		Head: chain.Head{Number: 7, Hash: "0x1", Time: now, Seen: now},
	})
	p.SetResources(probe.Resources{At: now, Memory: probe.Memory{RSS: 1 << 20}, Disks: []probe.Disk{
		{Path: `/a "strange\path`, Size: 2, Free: 1}, {Path: "/b", Size: 4, Free: 3},
	}})
	o.supervisor = func() supervisor.Status { return supervisor.Status{State: supervisor.Running, Pid: 42, Started: now} }
	o.prober, o.reaper, o.forwarder, o.version = p, reaper.New(), &supervisor.Forwarder{}, "v1"
	o.board = alert.NewBoard(alert.BoardConfig{Rules: (&alarms{}).rules(&settings{}, nil)})
	o.consensus = func() chain.Consensus {
		return chain.Consensus{Kind: chain.Clique, Quorum: 2, Validators: []chain.Validator{{Self: true, Active: true}, {Active: true}, {}}}
	}
	o.backups = upgrade.NewBackups(upgrade.BackupsConfig{})
	o.notifier, _ = alert.NewNotifier(alert.NotifierConfig{})
	o.plans = func() []upgrade.Entry {
		return []upgrade.Entry{
			{Record: upgrade.Record{Plan: upgrade.Plan{Name: "v2", Height: 100}, Stage: upgrade.Prepared}},
			{Record: upgrade.Record{Plan: upgrade.Plan{Name: "v3", Height: 200}, Stage: upgrade.NotReady}},
			{Record: upgrade.Record{Plan: upgrade.Plan{Name: "v1", Height: 50}, Stage: upgrade.Done}},
		}
	}
	o.downtime.observe(0.07)
	o.downtime.observe(1000)
	for _, stage := range []upgrade.Stage{upgrade.Switching, upgrade.Confirming, upgrade.Done, upgrade.Switching, upgrade.RolledBack} {
		o.upgraded(upgrade.Event{Stage: stage})
	}
	o.ended(supervisor.Ended{Exit: reaper.Exit{Signal: syscall.SIGKILL}, OOM: true})
	return o
}

func TestMetricsPassPromtool(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool: apt-get install prometheus")
	}
	var text bytes.Buffer
	observed().write(&text)
	cmd := exec.Command(tool, "check", "metrics")
	cmd.Stdin = &text
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("want no complaint, have %v\n%s", err, out)
	}
}

// TestMetricsAreAllThere holds the documented names that have a value by now.
func TestMetricsAreAllThere(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	observed().write(&text)
	for _, want := range []string{
		`build_info{version="v1"} 1`, `node_up 1`, `node_state{state="running"} 1`, `node_state{state="failed"} 0`,
		`node_start_time_seconds `, `node_restarts_total{reason="oom"} 0`, `node_exits_total{code="0"} 0`,
		`node_exits_total{code="137"} 1`, `node_oom_kills_total 1`, `node_memory_bytes 1.048576e+06`, `node_height 7`,
		`node_head_age_seconds `, `node_peers 0`, `node_syncing 0`, `rpc_latency_seconds 0.001`, `rpc_errors_total 0`,
		`reaped_total 0`, `signals_forwarded_total{signal="USR1"} 0`, `disk_free_bytes{path="/a \"strange\\path"} 1`,
		`disk_size_bytes{path="/b"} 4`, `check_healthy{check="sync"} 1`, `alerts_total{alert="node_down"} 0`,
		`alerts_total{alert="unclean_shutdown"} 0`, `alert_firing{alert="disk_low"} 0`,
		`validators_active 2`, `validators_quorum 2`, `validator_is_active 1`,
		`upgrades_total 2`, `upgrades_success_total 1`, `upgrades_failed_total 0`, `upgrades_rolled_back_total 1`,
		`upgrades_pending 2`, `upgrade_plan_height 100`, `upgrade_plan_ready 1`,
		`upgrade_downtime_seconds_bucket{le="0.05"} 0`, `upgrade_downtime_seconds_bucket{le="0.1"} 1`,
		`upgrade_downtime_seconds_bucket{le="+Inf"} 2`, `upgrade_downtime_seconds_sum 1000.07`, `upgrade_downtime_seconds_count 2`,
		`alerts_total{alert="upgrade_late"} 0`,
		`backup_failures_total 0`, `snapshots 0`,
		`notifications_total{result="sent"} 0`, `notifications_total{result="failed"} 0`, `notifications_total{result="dropped"} 0`,
	} {
		if !strings.Contains(text.String(), "\nwemixvisor_"+want) {
			t.Errorf("want %s", want)
		}
	}
	for _, want := range []string{"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "go_goroutines"} {
		if !strings.Contains(text.String(), "\n"+want+" ") {
			t.Errorf("want %s", want)
		}
	}
}

func TestMetricsOfANodeNeverStarted(t *testing.T) {
	t.Parallel()
	o := observed()
	o.prober = probe.New(probe.Config{})
	o.supervisor = func() supervisor.Status { return supervisor.Status{State: supervisor.Stopped} }
	o.consensus = func() chain.Consensus { return chain.Consensus{} }
	var text bytes.Buffer
	o.write(&text)
	for _, name := range []string{
		"node_height", "node_peers", "node_syncing", "rpc_latency_seconds", "disk_free_bytes", "node_start_time_seconds", "node_memory_bytes",
		"validators_active", "validators_quorum", "validator_is_active",
	} {
		if strings.Contains(text.String(), "wemixvisor_"+name) {
			t.Errorf("want no %s: nobody knows it", name)
		}
	}
}

// TestJSONSaysWhatTheTextSays compares every value of both forms.
func TestJSONSaysWhatTheTextSays(t *testing.T) {
	t.Parallel()
	families := observed().families()
	var text bytes.Buffer
	writeText(&text, families)
	raw, err := json.Marshal(families)
	if err != nil {
		t.Fatal(err)
	}
	var decoded []struct {
		Name, Type, Help string
		Values           []struct {
			Suffix string
			Labels map[string]string
			Value  float64
		}
	}
	if err := json.Unmarshal(raw, &decoded); err != nil {
		t.Fatal(err)
	}
	var have strings.Builder
	for _, f := range decoded {
		have.WriteString("# HELP " + f.Name + " " + f.Help + "\n# TYPE " + f.Name + " " + f.Type + "\n")
		for _, v := range f.Values {
			have.WriteString(f.Name + v.Suffix)
			for name, value := range v.Labels {
				have.WriteString(label(name, value))
			}
			have.WriteString(" " + strconv.FormatFloat(v.Value, 'g', -1, 64) + "\n")
		}
	}
	if want := text.String(); have.String() != want {
		t.Errorf("want\n%s\nhave\n%s", want, have.String())
	}
}

// BenchmarkScrape reports what one costs, the kernel's files about us included.
func BenchmarkScrape(b *testing.B) {
	o := observed()
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		o.write(io.Discard)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-µs")
}

// A sample may be older than the node's end.
func TestNodeThatIsDownHasNoMemory(t *testing.T) {
	t.Parallel()
	o := observed()
	o.supervisor = func() supervisor.Status { return supervisor.Status{State: supervisor.Stopped} }
	var text bytes.Buffer
	o.write(&text)
	if strings.Contains(text.String(), "node_memory_bytes") {
		t.Error("want no node_memory_bytes of a node that is down")
	}
}
