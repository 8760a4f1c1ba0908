package chain

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/go-kit/log"
)

// four is the recorded network of four brought to life: at any height, with any
// of them down. Its blocks are of this moment.
type four struct {
	*recording
	set []string

	mu     sync.Mutex
	height uint64
	down   map[string]bool // these seal nothing of the last four blocks
	still  time.Time       // since when there are no new blocks; zero: there are
}

func newFour(t *testing.T, height uint64) *four {
	t.Helper()
	n := &four{recording: record(t, "wbft-4validators.json"), height: height, down: make(map[string]bool)}
	if err := json.Unmarshal(n.said["istanbul_getValidators []"].Result, &n.set); err != nil {
		t.Fatal(err)
	}
	n.answer("istanbul_getValidators", func(...any) (any, error) { return n.set, nil })
	n.answer("eth_getBlockByNumber", func(params ...any) (any, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		number, err := hexutil.DecodeUint64(params[0].(string))
		if err != nil {
			if n.still.IsZero() {
				n.height++
			}
			number = n.height
		}
		at := time.Now()
		if !n.still.IsZero() {
			at = n.still
		}
		return map[string]any{
			"number": hexutil.Uint64(number), "hash": hash(number), "parentHash": hash(number - 1),
			"timestamp": hexutil.Uint64(at.Unix()), "miner": n.set[0], "extraData": "0x",
		}, nil
	})
	n.answer("istanbul_status", func(params ...any) (any, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		count := make(map[string]int)
		for _, v := range n.set {
			if count[v] = 4; n.down[v] {
				count[v] = 0
			}
			if from, to := hexutil.MustDecodeUint64(params[0].(string)), hexutil.MustDecodeUint64(params[1].(string)); to-from > 4 {
				count[v] = 16 // but they did before
			}
		}
		return map[string]any{"sealerActivity": map[string]any{"prevCommitted": count}}, nil
	})
	return n
}

func (n *four) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

// self is the first of four: its turns are the slots 0, 4, 8, of 320 blocks each
// with this downtime, long enough for a test to pass in one.
const longDowntime = 5 * time.Minute

func newGate(t *testing.T, n *four, cfg GateConfig) (*Gate, func(string, func(Consensus) bool) Consensus) {
	t.Helper()
	f, wait := watch(t, Config{Address: n.http(t), ConsensusEvery: time.Hour, Interval: time.Hour, Downtime: longDowntime})
	cfg.Follower = f
	return NewGate(cfg), wait
}

// entered runs Wait and returns where its end is told.
func entered(t *testing.T, g *Gate) (<-chan error, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- g.Wait(ctx) }() // its end is awaited by every test
	return done, cancel
}

func waitsFor(t *testing.T, g *Gate, reason string) {
	t.Helper()
	eventually(t, "a stop to wait for: "+reason, func() bool {
		have, since := g.Waiting()
		return strings.Contains(have, reason) && !since.IsZero()
	})
}

func ends(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(deadline):
		t.Fatal("want an end of the wait")
		return nil
	}
}

func TestGateOpens(t *testing.T) {
	t.Parallel()
	n := newFour(t, 320*8)
	g, wait := newGate(t, n, GateConfig{Timeout: time.Hour})
	wait("a view", known)
	asked := len(n.questions("istanbul_status"))
	done, _ := entered(t, g)
	if err := ends(t, done); err != nil {
		t.Fatal(err)
	}
	if have := len(n.questions("istanbul_status")); have == asked {
		t.Error("want the node asked anew: what was known is of before")
	}
	if reason, since := g.Waiting(); reason != "" || !since.IsZero() {
		t.Errorf("want nobody waiting, have %q since %s", reason, since)
	}
}

func TestGateWaitsForTheOneThatIsAway(t *testing.T) {
	t.Parallel()
	n := newFour(t, 320*8)
	away := n.set[1]
	n.down[away] = true
	var logged logBuffer
	g, _ := newGate(t, n, GateConfig{Timeout: time.Hour, Logger: log.NewLogfmtLogger(&logged)})
	first, _ := entered(t, g)
	waitsFor(t, g, "only 3 of 4 validators seal and the quorum is 3: without this one it is 2")
	second, cancel := entered(t, g)
	eventually(t, "a line for each", func() bool { return strings.Count(logged.String(), "a stop waits for the chain") == 2 })
	cancel()
	if err := ends(t, second); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "only 3 of 4") {
		t.Errorf("want it to end with its context and to say what for, have %v", err)
	}
	waitsFor(t, g, "only 3 of 4") // the other one still does
	n.change(func() { n.down[away] = false })
	if err := ends(t, first); err != nil {
		t.Fatal(err)
	}
	if have := strings.Count(logged.String(), "a stop waits for the chain"); have != 2 {
		t.Errorf("want no line more, have %d in\n%s", have, logged.String())
	}
}

func TestWhoSealedBeforeWeCame(t *testing.T) {
	t.Parallel()
	n := newFour(t, 1000)
	n.down[n.set[1]] = true
	f, wait := watch(t, Config{Address: n.http(t), ConsensusEvery: time.Millisecond})
	c := wait("a view", known)
	missing := func(c Consensus) string {
		var names []string
		for _, v := range c.missing() {
			names = append(names, v.Address)
		}
		return strings.Join(names, " ")
	}
	if have := missing(c); have != n.set[1] {
		t.Fatalf("want %s missed, have %q of %+v", n.set[1], have, c.Validators)
	}
	// It is remembered over a process, and over a head that goes back.
	n.change(func() { n.height = 900 })
	f.NodeStarted(time.Now().Add(time.Second))
	c = wait("the next process", func(n Consensus) bool { return n.Known && n.Started.After(c.Started) })
	if have := missing(c); have != n.set[1] || c.Head.Number > 950 {
		t.Errorf("want %s missed still, have %q of %+v", n.set[1], have, c.Validators)
	}
	n.change(func() { n.down[n.set[1]] = false })
	c = wait("it to be back", func(c Consensus) bool { return c.Active() == 4 })
	if have := missing(c); have != "" {
		t.Errorf("want nobody missed, have %q", have)
	}
}

func TestGateWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	n := newFour(t, 320*9)
	g, _ := newGate(t, n, GateConfig{Timeout: time.Hour})
	done, _ := entered(t, g)
	waitsFor(t, g, "its turn comes at block 3840")
	n.change(func() { n.height = 320 * 12 })
	if err := ends(t, done); err != nil {
		t.Fatal(err)
	}
}

func TestGateWhenTheTimeIsOver(t *testing.T) {
	t.Parallel()
	for _, hold := range []bool{false, true} {
		n := newFour(t, 320*8)
		n.down[n.set[2]] = true
		overdue := make(chan string, 2)
		var logged logBuffer
		g, wait := newGate(t, n, GateConfig{Timeout: 200 * time.Millisecond, Hold: hold, Logger: log.NewLogfmtLogger(&logged), OnOverdue: func(r string) { overdue <- r }})
		wait("a view", known)
		done, cancel := entered(t, g)
		if reason := <-overdue; reason == "" {
			t.Error("want to hear what it waited for")
		}
		if hold {
			waitsFor(t, g, "only 3 of 4")
			select {
			case err := <-done:
				t.Fatalf("want it to hold, have %v", err)
			default:
			}
			cancel()
			if err := ends(t, done); !errors.Is(err, context.Canceled) {
				t.Errorf("want context.Canceled, have %v", err)
			}
		} else if err := ends(t, done); err != nil {
			t.Errorf("want it to proceed, have %v", err)
		}
		if len(overdue) != 0 {
			t.Error("want to hear it once")
		}
		if !strings.Contains(logged.String(), "level=warn msg=\"waited long enough") {
			t.Errorf("want it loud, have\n%s", logged.String())
		}
	}
}

func TestGateOpensOnAChainThatIsHalted(t *testing.T) {
	t.Parallel()
	n := newFour(t, 320*9) // and it is another one's turn
	n.still = time.Now().Add(-time.Minute)
	n.down[n.set[1]], n.down[n.set[2]] = true, true
	var logged logBuffer
	g, _ := newGate(t, n, GateConfig{Timeout: time.Hour, Logger: log.NewLogfmtLogger(&logged)})
	done, _ := entered(t, g)
	if err := ends(t, done); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(logged.String(), `level=warn msg="stopping a validator" warning="the chain stands since block 2880`) {
		t.Errorf("want a warning, have\n%s", logged.String())
	}
}

func TestGateOfNodesThatDependOnNobody(t *testing.T) {
	t.Parallel()
	plain := newNode(t)
	f, wait := watch(t, Config{Address: plain.http(t)})
	wait("a view", known)
	g := NewGate(GateConfig{Follower: f, Timeout: time.Hour})
	began := time.Now()
	if err := g.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.NodeStopped()
	if err := g.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("want no wait, have %s", took)
	}
}
