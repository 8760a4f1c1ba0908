package probe

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/wemix/wemixvisor/probe/chain"
)

// noon is when all tests take place.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

// usualConfig has the defaults of the flags.
func usualConfig() Config {
	return Config{
		MaxHeadAge:        time.Minute,
		LiveMaxRPCSilence: 5 * time.Minute,
		MaxLag:            10,
		Now:               func() time.Time { return noon },
	}
}

func running() Node {
	return Node{State: "running", PID: 42, Started: ago(time.Hour)}
}

// healthy is what a follower knows of a node that is well.
func healthy() chain.Facts {
	return chain.Facts{
		Started: ago(time.Hour), FirstAnswer: ago(59 * time.Minute), LastAnswer: ago(time.Second),
		Head:      chain.Head{Number: 100, Hash: "0x1", Time: ago(2 * time.Second), Seen: ago(time.Second)},
		HeadKnown: true, Peers: 3, PeersKnown: true, Listening: true,
	}
}

func TestProbes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name                 string
		config               func(*Config)
		node                 func(*Node)
		facts                func(*chain.Facts)
		phase                string
		live, ready, startup string // why not; empty: ok
	}{
		{name: "all is well"},
		{
			name: "before the node may start", phase: "waiting for another supervisor",
			node: func(n *Node) { *n = Node{} }, facts: func(f *chain.Facts) { *f = chain.Facts{} },
			ready: "process: waiting for another supervisor",
		},
		{
			name:  "nothing was pushed yet",
			node:  func(n *Node) { *n = Node{} },
			facts: func(f *chain.Facts) { *f = chain.Facts{} },
			ready: "process: not started", startup: "process: not started",
		},
		{
			name:  "RPC has not opened yet",
			facts: func(f *chain.Facts) { *f = chain.Facts{Started: ago(time.Hour), Failed: 9, Err: "connection refused"} },
			ready: "rpc_endpoint: has not answered yet: connection refused; sync: head not known: connection refused",
			// Never ends a startup by itself: that is for the orchestrator to judge.
			startup: "rpc_endpoint: has not answered yet: connection refused",
		},
		{
			name:  "halted chain: eth_syncing is false and peers are there",
			facts: func(f *chain.Facts) { f.Head.Time, f.Head.Seen = ago(91*time.Second), ago(90*time.Second) },
			ready: "sync: head 100 has stood still for 1m30s",
		},
		{
			name:  "importing old blocks",
			facts: func(f *chain.Facts) { f.Head.Time = ago(3 * time.Hour) },
			ready: "sync: head 100 is 3h0m0s old",
		},
		{
			name:   "a chain that mines on demand",
			config: func(c *Config) { c.MaxHeadAge = 0 },
			facts:  func(f *chain.Facts) { f.Head.Time, f.Head.Seen = ago(time.Hour), ago(time.Hour) },
		},
		{
			name:  "53 blocks behind though eth_syncing is false",
			facts: func(f *chain.Facts) { f.Highest = 153 },
			ready: "sync: 53 blocks behind",
		},
		{
			name:  "syncing, but close enough",
			facts: func(f *chain.Facts) { f.Syncing, f.Highest = true, 105 },
		},
		{
			name:   "too few peers",
			config: func(c *Config) { c.MinPeers = 4 },
			ready:  "network: 3 of at least 4 peers",
		},
		{
			name:   "peers not told",
			config: func(c *Config) { c.MinPeers = 1 },
			facts:  func(f *chain.Facts) { f.PeersKnown = false },
			ready:  "network: number of peers not known",
		},
		{
			name:  "one slow answer",
			facts: func(f *chain.Facts) { f.LastAnswer, f.Failed, f.Err = ago(6*time.Second), 1, "timeout" },
		},
		{
			name:  "RPC closed",
			facts: func(f *chain.Facts) { f.LastAnswer, f.Failed, f.Err = ago(4*time.Second), 3, "refused" },
			ready: "rpc_endpoint: no answer for 4s: refused",
		},
		{
			name:  "stopped by SIGSTOP, not yet for long",
			facts: func(f *chain.Facts) { f.LastAnswer, f.Failed, f.Err = ago(4*time.Minute), 40, "timeout" },
			ready: "rpc_endpoint: no answer for 4m0s: timeout",
		},
		{
			name:  "silent for too long",
			facts: func(f *chain.Facts) { f.LastAnswer, f.Failed, f.Err = ago(6*time.Minute), 60, "timeout" },
			live:  "rpc_endpoint: silent for 6m0s: timeout",
			ready: "rpc_endpoint: no answer for 6m0s: timeout",
		},
		{
			name:   "silence is not looked at",
			config: func(c *Config) { c.LiveMaxRPCSilence = 0 },
			facts:  func(f *chain.Facts) { f.LastAnswer, f.Failed = ago(time.Hour), 60 },
			ready:  "rpc_endpoint: no answer for 1h0m0s",
		},
		{
			name:  "silence during a change",
			node:  func(n *Node) { n.Change = "backup" },
			facts: func(f *chain.Facts) { f.LastAnswer, f.Failed = ago(time.Hour), 60 },
			ready: "change: backup in progress; rpc_endpoint: no answer for 1h0m0s",
		},
		{
			name:  "the silence of an earlier process",
			node:  func(n *Node) { n.Started = ago(time.Second) },
			facts: func(f *chain.Facts) { f.LastAnswer, f.Failed = ago(time.Hour), 60 },
			ready: "rpc_endpoint: has not answered yet; sync: head not known",
		},
		{
			name:  "held down on purpose",
			node:  func(n *Node) { *n = Node{State: "stopped", Reason: "asked to", Held: true} },
			facts: func(f *chain.Facts) { *f = chain.Facts{} },
			ready: "process: stopped: asked to",
		},
		{
			name:  "down for an upgrade",
			node:  func(n *Node) { *n = Node{State: "stopped", Change: "upgrade"} },
			facts: func(f *chain.Facts) { *f = chain.Facts{} },
			ready: "process: stopped; change: upgrade in progress",
		},
		{
			name:  "waiting before a restart",
			node:  func(n *Node) { n.State, n.Reason = "backoff", "exit code 2" },
			ready: "process: backoff: exit code 2",
		},
		{
			name:  "failed for good",
			node:  func(n *Node) { *n = Node{State: "failed", Reason: "6 exits in 10m0s", Failed: true} },
			live:  "process: 6 exits in 10m0s",
			ready: "process: failed: 6 exits in 10m0s",
		},
		{
			name:   "the supervisor's loop hangs",
			config: func(c *Config) { c.LoopBeat = func() time.Time { return ago(40 * time.Second) } },
			live:   "supervisor: loop has not turned for 40s",
		},
		{
			name:   "the supervisor's loop has not begun",
			config: func(c *Config) { c.LoopBeat = func() time.Time { return time.Time{} } },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg, node, facts := usualConfig(), running(), healthy()
			if tc.config != nil {
				tc.config(&cfg)
			}
			if tc.node != nil {
				tc.node(&node)
			}
			if tc.facts != nil {
				tc.facts(&facts)
			}
			p := New(cfg)
			p.SetPhase(tc.phase)
			p.SetNode(node)
			p.SetFacts(facts)
			for _, q := range []struct {
				name, want string
				have       Verdict
			}{
				{"live", tc.live, p.Live()}, {"ready", tc.ready, p.Ready()}, {"startup", tc.startup, p.Startup()},
			} {
				if have := q.have.Why(); have != q.want {
					t.Errorf("%s: want %q, have %q", q.name, q.want, have)
				}
				if q.have.OK != (q.want == "") {
					t.Errorf("%s: verdict and reasons disagree", q.name)
				}
			}
		})
	}
}

func TestStartupStaysOver(t *testing.T) {
	t.Parallel()
	p := New(usualConfig())
	p.SetNode(running())
	p.SetFacts(healthy())
	p.SetNode(Node{State: "backoff"})
	p.SetFacts(chain.Facts{})
	if v := p.Startup(); !v.OK {
		t.Fatalf("want startup over for this supervisor's life, have %s", v.Why())
	}
}

func TestSilenceIsNotCountedFromBeforeTheEndOfAChange(t *testing.T) {
	t.Parallel()
	now := noon
	cfg := usualConfig()
	cfg.Now = func() time.Time { return now }
	p := New(cfg)
	f := healthy()
	f.LastAnswer, f.Failed = ago(time.Hour), 60
	p.SetFacts(f)
	n := running()
	n.Change = "backup"
	p.SetNode(n)
	n.Change = ""
	p.SetNode(n)
	if v := p.Live(); !v.OK {
		t.Fatalf("want live just after the change, have %s", v.Why())
	}
	now = now.Add(6 * time.Minute)
	if v := p.Live(); v.OK {
		t.Fatal("want not live when the silence goes on, have live")
	}
}

func TestLimitsDoNotFlap(t *testing.T) {
	t.Parallel()
	p := New(usualConfig())
	p.SetNode(running())
	for _, step := range []struct {
		lag  uint64
		want bool
	}{{10, true}, {11, false}, {10, false}, {9, false}, {8, true}, {9, true}, {10, true}, {11, false}} {
		f := healthy()
		f.Highest = f.Head.Number + step.lag
		p.SetFacts(f)
		if have := p.Ready().OK; have != step.want {
			t.Errorf("lag %d: want ready %v, have %v", step.lag, step.want, have)
		}
	}
	for _, step := range []struct {
		age  int // seconds
		want bool
	}{{60, true}, {61, false}, {59, false}, {49, false}, {48, true}, {59, true}} {
		f := healthy()
		f.Head.Time = ago(time.Duration(step.age) * time.Second)
		p.SetFacts(f)
		if have := p.Ready().OK; have != step.want {
			t.Errorf("head of %ds: want ready %v, have %v", step.age, step.want, have)
		}
	}
}

func TestPeersMayDropShortly(t *testing.T) {
	t.Parallel()
	now := noon
	cfg := usualConfig()
	cfg.MinPeers, cfg.MaxHeadAge, cfg.Now = 3, 0, func() time.Time { return now }
	p := New(cfg)
	p.SetNode(running())
	f := healthy()
	p.SetFacts(f)
	f.Peers = 2
	for _, step := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {30 * time.Second, true}, {31 * time.Second, false}} {
		now = noon.Add(step.after)
		f.LastAnswer = now
		p.SetFacts(f)
		if have := p.Ready(); have.OK != step.want {
			t.Errorf("after %s: want ready %v, have %s", step.after, step.want, have.Why())
		}
	}
	// Another process has to find its own.
	n := running()
	n.Started = now
	f.Started, f.FirstAnswer = now, now
	p.SetNode(n)
	p.SetFacts(f)
	if p.Ready().OK {
		t.Error("want a new process not ready below its peers, have ready")
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		node      func(*Node)
		facts     func(*chain.Facts)
		resources Resources
		want      map[string]string // check to error
	}{
		{name: "all is well"},
		{
			name: "node down", node: func(n *Node) { *n = Node{State: "stopped", Reason: "asked to", Held: true} },
			want: map[string]string{"process": "stopped: asked to", "rpc_endpoint": "stopped: asked to", "network": "stopped: asked to", "sync": "stopped: asked to"},
		},
		{
			name: "deaf", facts: func(f *chain.Facts) { f.Peers, f.Listening = 0, false },
			want: map[string]string{"network": "no peers and not listening for any"},
		},
		{
			name: "memory short", resources: Resources{Memory: Memory{RSS: 990, Held: 960, Limit: 1000}},
			want: map[string]string{"memory": "node holds 960 B, 96% of its limit of 1000 B"},
		},
		{name: "memory is only mapped files", resources: Resources{Memory: Memory{RSS: 990, Held: 500, Limit: 1000}}},
		{
			name: "disk short", resources: Resources{Disks: []Disk{{Path: "/a", Size: 1 << 20, Free: 1 << 19}, {Path: "/data", Size: 1 << 20, Free: 50 << 10}}},
			want: map[string]string{"disk": "/data: 50.0 KiB of 1.0 MiB free"},
		},
		{name: "five percent of a large disk is plenty", resources: Resources{Disks: []Disk{{Size: 4 << 40, Free: 20 << 30}}}},
		{
			name: "out of inodes", resources: Resources{Disks: []Disk{{Path: "/data", Size: 1 << 20, Free: 1 << 19, Inodes: 100, InodesFree: 4}}},
			want: map[string]string{"disk": "/data: 4 of 100 inodes free"},
		},
		{
			name: "filling up", resources: Resources{Disks: []Disk{{Path: "/data", Size: 1 << 20, Free: 1 << 18, FullIn: 10 * time.Minute}}},
			want: map[string]string{"disk": "/data: 256.0 KiB of 1.0 MiB free, full in 10m0s"},
		},
		{
			name: "path gone", resources: Resources{Disks: []Disk{{Path: "/data", Err: "no such file or directory"}}},
			want: map[string]string{"disk": "/data: no such file or directory"},
		},
		{
			name: "a file system hangs", resources: Resources{At: ago(5 * time.Minute), Until: ago(time.Minute)},
			want: map[string]string{"disk": "no sample for 5m0s: a file system hangs"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			node, facts := running(), healthy()
			if tc.node != nil {
				tc.node(&node)
			}
			if tc.facts != nil {
				tc.facts(&facts)
			}
			p := New(usualConfig())
			p.SetNode(node)
			p.SetFacts(facts)
			p.SetResources(tc.resources)
			h := p.Health()
			if h.Healthy != (len(tc.want) == 0) || !h.Timestamp.Equal(noon) || len(h.Checks) != len(Checks) {
				t.Errorf("want healthy %v at noon with all checks, have %+v", len(tc.want) == 0, h)
			}
			for _, name := range Checks {
				c := h.Checks[name]
				if c.Name != name || c.Error != tc.want[name] || c.Healthy != (c.Error == "") {
					t.Errorf("want %s %q, have %+v", name, tc.want[name], c)
				}
			}
		})
	}
}

func TestAnotherChainTurnsHealthRedAndNothingElse(t *testing.T) {
	t.Parallel()
	p := New(usualConfig())
	p.SetNode(running())
	p.SetFacts(healthy())
	p.SetAlarm("chain id 2 was 1")
	if have := p.Health(); have.Healthy || have.Checks["sync"].Error != "another chain than before: chain id 2 was 1" {
		t.Errorf("want the sync check red, have %+v", have)
	}
	if !p.Ready().OK || !p.Live().OK {
		t.Errorf("want it ready and live all the same, have %s %s", p.Ready().Why(), p.Live().Why())
	}
	p.SetAlarm("")
	if have := p.Health(); !have.Healthy {
		t.Errorf("want it green on its old chain, have %+v", have)
	}
}

func TestTurnsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	cfg := usualConfig()
	cfg.Logger = log.NewLogfmtLogger(&out)
	p := New(cfg)
	last := journal{live: true, memory: true, disk: true}
	turn := func() {
		for range 3 {
			last = p.note(last)
		}
	}
	turn() // nothing known, nothing said
	p.SetNode(running())
	p.SetFacts(healthy())
	turn()
	p.SetNode(Node{State: "stopped", Reason: "asked to", Held: true})
	turn()
	want := `level=info msg=ready
level=info msg="startup over"
level=warn msg="not ready" why="process: stopped: asked to"
`
	if have := out.String(); have != want {
		t.Errorf("want\n%s\nhave\n%s", want, strings.TrimSpace(have))
	}
}
