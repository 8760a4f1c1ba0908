package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
)

// run starts a follower and returns a function that waits for facts.
func run(t *testing.T, cfg Config) (*Follower, func(what string, want func(Facts) bool) Facts) {
	t.Helper()
	news := make(chan struct{}, 1)
	tell := cfg.OnFacts
	cfg.OnFacts = func(f Facts) {
		if tell != nil {
			tell(f)
		}
		select {
		case news <- struct{}{}:
		default:
		}
	}
	f, err := NewFollower(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }() // joined by the cleanup
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("want context.Canceled, have %v", err)
		}
	})
	return f, func(what string, want func(Facts) bool) Facts {
		t.Helper()
		late := time.After(deadline)
		for {
			if facts := f.Facts(); want(facts) {
				return facts
			}
			select {
			case <-news:
			case <-late:
				t.Fatalf("want %s, have %+v", what, f.Facts())
			}
		}
	}
}

func TestFollowerReplaysRecordedNodes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		file, client, kind string
		chainID, height    uint64
		peers              int
	}{
		{"qbft-quorum.json", "geth", QBFT, 1337, 0x40, 0},
		{"wbft-4validators.json", "gstable", WBFT, 34826, 0x3b, 3},
		{"wbft-one-of-4-down.json", "gstable", WBFT, 34826, 0x53, 2},
		{"wbft-two-of-4-down-halted.json", "gstable", WBFT, 34826, 0x53, 1},
		{"wemix-spoa-before-governance.json", "gwemix", Wemix, 31111, 0x4a, 0},
		{"wemix-spoa-governed.json", "gwemix", Wemix, 31111, 0x9c, 0},
	} {
		t.Run(tc.file, func(t *testing.T) {
			t.Parallel()
			f, wait := run(t, Config{Address: record(t, tc.file).http(t)})
			f.NodeStarted(time.Now())
			have := wait("head and peers", func(f Facts) bool { return f.HeadKnown && f.PeersKnown })
			if have.Client != tc.client || have.Kind != tc.kind || have.ChainID != tc.chainID {
				t.Errorf("want %s %s %d, have %s %s %d", tc.client, tc.kind, tc.chainID, have.Client, have.Kind, have.ChainID)
			}
			if have.Head.Number != tc.height || have.Peers != tc.peers || !have.Listening || have.Syncing || have.Lag() != 0 {
				t.Errorf("want head %d and %d peers, have %+v", tc.height, tc.peers, have)
			}
			// Recorded long ago, or on a clock ahead: only the age may tell that they stand still.
			if age := have.Head.Age(have.Head.Time.Add(time.Hour)); age < time.Hour {
				t.Errorf("want an age of an hour at least, have %s", age)
			}
			if have.Err != "" || have.Failed != 0 {
				t.Errorf("want no error, have %q", have.Err)
			}
		})
	}
}

func TestFollowerPolls(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	f, wait := run(t, Config{Address: n.http(t), Interval: 10 * time.Millisecond})
	f.NodeStarted(time.Now())
	wait("head 1", func(f Facts) bool { return f.HeadKnown && f.Head.Number == 1 })
	n.mine()
	have := wait("head 2", func(f Facts) bool { return f.Head.Number == 2 })
	if have.Genesis != hash(0) || have.Version != "v1.16.9-stable-95665d57" || have.Peers != 3 {
		t.Fatalf("want the node's identity and peers, have %+v", have)
	}
	if have.Latency <= 0 || have.Calls == 0 || have.Errors != 0 {
		t.Fatalf("want latency and calls, have %+v", have)
	}
}

func TestFollowerSubscribes(t *testing.T) {
	t.Parallel()
	for _, via := range []string{"ws", "ipc"} {
		t.Run(via, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			address := ""
			if via == "ws" {
				address = n.ws(t)
			} else {
				address = n.ipc(t, filepath.Join(t.TempDir(), "n.ipc"))
			}
			// With polls an hour apart, what comes, comes by subscription.
			f, wait := run(t, Config{Address: address, Interval: time.Hour, PeersEvery: time.Hour})
			f.NodeStarted(time.Now())
			wait("head 1", func(f Facts) bool { return f.HeadKnown })
			for want := uint64(2); want < 5; want++ {
				mined := time.Now()
				n.mine()
				have := wait(fmt.Sprintf("head %d", want), func(f Facts) bool { return f.Head.Number == want })
				if late := have.Head.Seen.Sub(mined); late > time.Second {
					t.Errorf("want it at once, have it after %s", late)
				}
			}
		})
	}
}

func TestFollowerComesBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "n.ipc")
	first := newNode(t)
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // joined below
		defer close(done)
		first.server.ServeListener(ln)
	}()
	var logged logBuffer
	f, wait := run(t, Config{Address: path, Interval: 10 * time.Millisecond, Logger: log.NewLogfmtLogger(&logged)})
	f.NodeStarted(time.Now())
	wait("head 1", func(f Facts) bool { return f.HeadKnown })

	ln.Close()
	first.server.Stop()
	<-done
	have := wait("silence", func(f Facts) bool { return f.Failed >= 3 })
	if have.Err == "" || have.Errors == 0 || !have.HeadKnown {
		t.Errorf("want an error and the last head, have %+v", have)
	}

	second := newNode(t)
	second.set(func() { second.head = 7 })
	second.ipc(t, path)
	have = wait("head 7", func(f Facts) bool { return f.Failed == 0 && f.Head.Number == 7 })
	if have.Err != "" {
		t.Errorf("want no error, have %q", have.Err)
	}
	for _, line := range []string{"node answers", "node does not answer; asking on", "node answers again"} {
		if c := strings.Count(logged.String(), `msg="`+line+`"`); c != 1 {
			t.Errorf("want one line %q, have %d in\n%s", line, c, logged.String())
		}
	}
}

func TestFollowerForgetsWithTheProcess(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	f, wait := run(t, Config{Address: n.http(t), Interval: time.Millisecond, ConsensusEvery: -1})
	if have := f.Facts(); !have.Started.IsZero() || have.HeadKnown {
		t.Fatalf("want nothing before a node runs, have %+v", have)
	}
	f.NodeStarted(time.Now())
	wait("head", func(f Facts) bool { return f.HeadKnown && f.PeersKnown })

	f.NodeStopped()
	have := f.Facts() // at once, whether Run noticed or not
	if have.HeadKnown || have.PeersKnown || !have.FirstAnswer.IsZero() || !have.Started.IsZero() {
		t.Fatalf("want RPC forgotten, have %+v", have)
	}
	if have.Head.Number != 1 || have.ChainID != 1337 {
		t.Fatalf("want head and identity kept, have %+v", have)
	}

	// While it is down nobody is asked: from the moment Run knows.
	wait("Run to notice", func(Facts) bool { return f.facts.Load().Started.IsZero() })
	asked := make(chan string, 1000)
	n.set(func() { n.asked = asked })
	for late := 0; ; late++ {
		select {
		case method := <-asked:
			if late > 1 { // those called off may still reach the node
				t.Fatalf("want no question, have %s", method)
			}
			continue
		case <-time.After(50 * time.Millisecond):
		}
		break
	}
	n.set(func() { n.asked = nil })
	f.NodeStarted(time.Now())
	wait("head again", func(f Facts) bool { return f.HeadKnown })
}

func TestWaitHeight(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	f, wait := run(t, Config{Address: n.http(t), Interval: time.Hour}) // only a waiter makes it poll
	f.NodeStarted(time.Now())
	wait("head", func(f Facts) bool { return f.HeadKnown })

	if h, err := f.WaitHeight(t.Context(), 1); err != nil || h.Number != 1 {
		t.Fatalf("want the height that is there, have %v, %v", h, err)
	}
	var wg sync.WaitGroup
	for want := uint64(2); want <= 4; want++ {
		wg.Go(func() {
			if h, err := f.WaitHeight(t.Context(), want); err != nil || h.Number < want {
				t.Errorf("want height %d, have %v, %v", want, h, err)
			}
		})
	}
	for range 3 {
		n.mine()
	}
	wg.Wait()

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := f.WaitHeight(ctx, 1000); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("want context.DeadlineExceeded, have %v", err)
	}
}

func TestAnotherChainIsAnAlarm(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	state := filepath.Join(t.TempDir(), "head.json")
	alarms := make(chan string, 10)
	cfg := Config{Address: n.http(t), Interval: 10 * time.Millisecond, StateFile: state, OnAlarm: func(s string) { alarms <- s }}

	t.Run("between two processes", func(t *testing.T) {
		f, wait := run(t, cfg)
		f.NodeStarted(time.Now())
		wait("head", func(f Facts) bool { return f.HeadKnown })
		n.set(func() { n.chainID = 1 })
		f.NodeStarted(time.Now())
		have := wait("the other chain", func(f Facts) bool { return f.HeadKnown && f.ChainID == 1 })
		if have.Head.Number != 1 {
			t.Errorf("want head 1, have %+v", have.Head)
		}
		if what := <-alarms; what != "chain id 1 was 1337" {
			t.Errorf("want the alarm to say how, have %q", what)
		}
	})
	t.Run("between two supervisors", func(t *testing.T) {
		n.set(func() { n.genesis = hash(9) })
		f, wait := run(t, cfg)
		have := wait("the remembered head", func(f Facts) bool { return f.Head.Number == 1 })
		if have.HeadKnown || have.ChainID != 1 || have.Head.Seen.IsZero() {
			t.Errorf("want it remembered, not known, have %+v", have)
		}
		f.NodeStarted(time.Now())
		wait("head", func(f Facts) bool { return f.HeadKnown })
		if what := <-alarms; !strings.HasPrefix(what, "genesis ") {
			t.Errorf("want an alarm about the genesis, have %q", what)
		}
	})
	if len(alarms) != 0 {
		t.Errorf("want no further alarm, have %q", <-alarms)
	}
}

func TestAlarmStandsUntilTheOldChainIsBack(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	alarms := make(chan string, 10)
	f, wait := run(t, Config{Address: n.http(t), Interval: 10 * time.Millisecond, OnAlarm: func(s string) { alarms <- s }})
	for _, step := range []struct {
		chainID uint64
		want    string
	}{{1337, "none"}, {1, "chain id 1 was 1337"}, {1, "chain id 1 was 1337"}, {2, "chain id 2 was 1337"}, {1337, ""}, {1337, "none"}} {
		n.set(func() { n.chainID = step.chainID })
		at := time.Now()
		f.NodeStarted(at)
		wait("head", func(f Facts) bool { return f.HeadKnown && f.Started.Equal(at) })
		have := "none"
		select {
		case have = <-alarms:
		default:
		}
		if have != step.want {
			t.Errorf("chain %d: want the alarm %q, have %q", step.chainID, step.want, have)
		}
	}
}

// The address may lead to another node while ours runs.
func TestAnotherChainInTheMiddleOfAProcessIsAnAlarm(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	alarms := make(chan string, 10)
	f, wait := run(t, Config{
		Address: n.http(t), Interval: 10 * time.Millisecond, PeersEvery: 20 * time.Millisecond,
		OnAlarm: func(s string) { alarms <- s },
	})
	f.NodeStarted(time.Now())
	wait("head", func(f Facts) bool { return f.HeadKnown })
	for _, step := range []struct {
		chainID uint64
		want    string
	}{{1, "chain id 1 was 1337"}, {1337, ""}} {
		n.set(func() { n.chainID = step.chainID })
		wait("the chain", func(f Facts) bool { return f.HeadKnown && f.ChainID == step.chainID })
		if have := <-alarms; have != step.want {
			t.Errorf("chain %d: want the alarm %q, have %q", step.chainID, step.want, have)
		}
	}
	asked := f.Facts().Calls
	wait("more polls", func(f Facts) bool { return f.Calls > asked+50 })
	if len(alarms) != 0 {
		t.Errorf("want each said once, have %q", <-alarms)
	}
}

// An address may hold a key, and anybody may read a probe's answer.
func TestErrorsDoNotShowTheAddress(t *testing.T) {
	t.Parallel()
	c, err := NewClient("http://127.0.0.1:1/v3/key?token=key")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Call(t.Context(), nil, "eth_chainId"); err == nil || strings.Contains(err.Error(), "key") {
		t.Errorf("want an error without the key, have %v", err)
	}
}

func TestStateFileThatMakesNoSense(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "head.json")
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	n := newNode(t)
	f, wait := run(t, Config{Address: n.http(t), StateFile: path})
	f.NodeStarted(time.Now())
	wait("head", func(f Facts) bool { return f.HeadKnown })
}

func TestMissingMethodIsSaidOnce(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	var logged logBuffer
	f, wait := run(t, Config{Address: n.http(t), Interval: time.Millisecond, Logger: log.NewLogfmtLogger(&logged)})
	for range 3 {
		f.NodeStarted(time.Now())
		last := wait("head", func(f Facts) bool { return f.HeadKnown }).LastAnswer
		for range 3 {
			last = wait("another answer", func(f Facts) bool { return f.LastAnswer.After(last) }).LastAnswer
		}
	}
	// The test's node has blocks, but no eth_getHeaderByNumber.
	if have := strings.Count(logged.String(), "eth_getHeaderByNumber"); have != 1 {
		t.Fatalf("want one line, have %d in\n%s", have, logged.String())
	}
}

func TestNodeThatKeepsEthToItself(t *testing.T) {
	t.Parallel()
	for _, via := range []string{"http", "ws"} {
		t.Run(via, func(t *testing.T) {
			t.Parallel()
			n := newNodeWith(t, "net", "web3") // geth's default over HTTP
			address := n.http(t)
			if via == "ws" {
				address = n.ws(t)
			}
			f, wait := run(t, Config{Address: address, Interval: time.Millisecond})
			f.NodeStarted(time.Now())
			first := wait("an answer", func(f Facts) bool { return f.PeersKnown })
			for range 3 { // later polls have nothing left to ask for but a sign of life
				last := first.LastAnswer
				first = wait("another answer", func(f Facts) bool { return f.LastAnswer.After(last) })
			}
			if first.HeadKnown || first.Failed != 0 || first.Err != "the eth namespace is not offered at this address" {
				t.Fatalf("want answers, no head and the reason, have %+v", first)
			}
		})
	}
}

func TestIPCIsASignOfLife(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	dir := t.TempDir()
	n.ipc(t, filepath.Join(dir, "geth.ipc"))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // nobody is at this address
	f, wait := run(t, Config{Address: ln.Addr().String(), IPC: filepath.Join(dir, "*.ipc"), Interval: 10 * time.Millisecond})
	f.NodeStarted(time.Now())
	have := wait("a sign of life", func(f Facts) bool { return !f.LastAnswer.IsZero() })
	if have.Failed == 0 || have.HeadKnown {
		t.Fatalf("want no answer at the address all the same, have %+v", have)
	}
}

// logBuffer is a place to log to from several goroutines.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// longSocket binds a path that bind(2) refuses, by moving it there.
func longSocket(t *testing.T, n *node, path string) string {
	t.Helper()
	short := n.ipc(t, filepath.Join(t.TempDir(), "n.ipc"))
	if err := os.Rename(short, path); err != nil {
		t.Fatal(err)
	}
	return path
}
