package governance

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	kitlog "github.com/go-kit/log"
	"go.uber.org/goleak"

	"github.com/wemix/wemixvisor/probe/chain"
	"github.com/wemix/wemixvisor/upgrade"
)

// role says that the test binary is to be a watcher, until a proposal is in a
// stage.
const role = "GOVERNANCE_TEST_ROLE"

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // for the children: the race detector sleeps a second in every exit
	if stage := os.Getenv(role); stage != "" {
		os.Exit(watchUntil(Stage(stage), os.Getenv("GOVERNANCE_TEST_RPC"), os.Getenv("GOVERNANCE_TEST_HOME")))
	}
	goleak.VerifyTestMain(m)
}

// watchUntil watches the recorded node.
func watchUntil(stage Stage, url, root string) int {
	cfg := recordedConfig(url, since(time.Now()))
	cfg.Home, cfg.Logger = upgrade.Home{Root: root, Name: "wemixd"}, kitlog.NewLogfmtLogger(os.Stdout)
	w := New(cfg)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		w.look(context.Background())
		if p, _ := w.Status().Proposal("1"); p.Stage == stage {
			return 0
		}
	}
	return 1
}

// network is a real development node, which makes a block of each transaction.
type network struct {
	t       *testing.T
	url     string
	client  *chain.Client
	account string
	facts   chain.Facts
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	file, err := filepath.Abs("../../.cache/bin/geth-v1.16.9")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Skip("no geth 1.16.9: make tools")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	var out bytes.Buffer
	cmd := exec.Command(file, "--dev", "--datadir", t.TempDir(), "--cache", "64", "--ipcdisable", "--nodiscover", "--port", "0",
		"--http", "--http.port", fmt.Sprint(port), "--http.api", "eth,net,web3,debug", "--authrpc.port", "0",
		"--gcmode", "archive", "--verbosity", "2")
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Logf("node: %v\n%s", err, &out)
		}
	})
	n := &network{t: t, url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	if n.client, err = chain.NewClient(n.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.client.Close)
	var accounts []string
	eventually(t, "the node answers", func() bool {
		return n.client.Call(context.Background(), &accounts, "eth_accounts") == nil && len(accounts) == 1
	})
	n.account = accounts[0]
	if n.facts, err = chain.Ask(context.Background(), n.url); err != nil {
		t.Fatal(err)
	}
	n.facts.Started = time.Now()
	return n
}

// call asks the node.
func (n *network) call(result any, method string, args ...any) {
	n.t.Helper()
	if err := n.client.Call(context.Background(), result, method, args...); err != nil {
		n.t.Fatal(err)
	}
}

// send has a transaction put into a block, and returns its receipt.
func (n *network) send(to, data string) (receipt struct {
	ContractAddress string
	BlockNumber     hexutil.Uint64
	Status          hexutil.Uint64
},
) {
	n.t.Helper()
	tx := map[string]string{"from": n.account, "data": data, "gas": "0x3d0900"}
	if to != "" {
		tx["to"] = to
	}
	var id string
	n.call(&id, "eth_sendTransaction", tx)
	eventually(n.t, "the transaction is in a block", func() bool {
		err := n.client.Call(context.Background(), &receipt, "eth_getTransactionReceipt", id) // an error while it indexes
		return err == nil && receipt.BlockNumber > 0
	})
	if receipt.Status != 1 {
		n.t.Fatal("the transaction failed")
	}
	return receipt
}

func (n *network) deploy() string {
	n.t.Helper()
	return strings.ToLower(n.send("", deployment(assemble(n.t, machine))).ContractAddress)
}

// mine makes blocks, at least so many: the node now and then makes one more.
func (n *network) mine(count uint64) {
	n.t.Helper()
	for to := n.head() + count; n.head() < to; {
		n.send(n.account, "0x")
	}
}

// depth is what the tests take for confirmed: more than the node makes by itself.
const depth = 5

func (n *network) head() uint64 {
	n.t.Helper()
	var head hexutil.Uint64
	n.call(&head, "eth_blockNumber")
	return uint64(head)
}

// rewind takes blocks away; what is mined then is another chain.
func (n *network) rewind(head uint64) {
	n.t.Helper()
	n.call(nil, "debug_setHead", hexutil.EncodeUint64(head))
	if have := n.head(); have < head || have > head+2 {
		n.t.Fatalf("want the head back at %d, have %d", head, have)
	}
}

// congress is go-wemix's contracts as far as they are read.
type congress struct {
	*network
	registry, storage string
}

func newCongress(n *network) congress {
	n.t.Helper()
	c := congress{n, n.deploy(), n.deploy()}
	b, _ := hex.DecodeString(c.storage[2:])
	var w word
	copy(w[12:], b)
	n.send(c.registry, learn(call("getContractAddress(bytes32)", text("BallotStorage")), w[:]))
	return c
}

func num(n uint64) word {
	w, _ := number(fmt.Sprint(n))
	return w
}

// basic is the answer of getBallotBasic.
func basic(kind, state uint64, finalized bool, memo string) []byte {
	final := uint64(0)
	if finalized {
		final = 1
	}
	var out []byte
	for _, n := range []uint64{1, 2, kind, 0xabc, 0x160, 1, 10000, 0, state, final, 86400, uint64(len(memo))} {
		w := num(n)
		out = append(out, w[:]...)
	}
	out = append(out, memo...)
	return append(out, make([]byte, (32-len(memo)%32)%32)...)
}

// write sets what the storage says of a ballot.
func (c congress) write(id, kind, state uint64, finalized bool, memo string) {
	c.t.Helper()
	c.send(c.storage, learn(call("getBallotBasic(uint256)", num(id)), basic(kind, state, finalized, memo)))
}

// open begins a ballot.
func (c congress) open(id, kind uint64, memo string) {
	c.t.Helper()
	c.write(id, kind, 2, false, memo)
	c.send(c.storage, emit([]word{hash("BallotCreated(uint256,uint256,address)"), num(id), num(kind), num(0xabc)}, nil))
}

// finish ends a ballot, and returns the block of its event.
func (c congress) finish(id, kind, state uint64, memo string) uint64 {
	c.t.Helper()
	c.write(id, kind, state, true, memo)
	w := num(state)
	return uint64(c.send(c.storage, emit([]word{hash("BallotFinalized(uint256,uint256)"), num(id)}, w[:])).BlockNumber)
}

// watch is a Watcher that runs, over a home.
type watch struct {
	*Watcher
	t    *testing.T
	home upgrade.Home
	stop func()

	mu     sync.Mutex
	events []Event
	logs   bytes.Buffer
}

func (v *watch) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.logs.Write(p)
}

// watching starts one over the home, which a test may have used before.
func watching(t *testing.T, home upgrade.Home, cfg Config) *watch {
	t.Helper()
	v := &watch{t: t, home: home}
	cfg.Home, cfg.Interval = home, 20*time.Millisecond
	cfg.Logger = kitlog.NewLogfmtLogger(v)
	cfg.OnEvent = func(e Event) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.events = append(v.events, e)
	}
	v.Watcher = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var over sync.WaitGroup
	over.Go(func() { _ = v.Run(ctx) })
	v.stop = func() { cancel(); over.Wait() }
	t.Cleanup(v.stop)
	return v
}

func (n *network) config(registry string, confirmations uint64) Config {
	return Config{
		Source: SourceWemix, Address: registry, Confirmations: confirmations, RPC: n.url,
		Facts: func() chain.Facts { return n.facts },
	}
}

// becomes waits until a proposal is in a stage for good.
func (v *watch) becomes(id string, want Stage) Proposal {
	v.t.Helper()
	var p Proposal
	eventually(v.t, "proposal "+id+" is "+string(want), func() bool {
		p, _ = v.Status().Proposal(id)
		return p.Stage == want && (p.Settled || want != Passed)
	}, v)
	return p
}

// told are the stages a proposal was told to be in.
func (v *watch) told(id string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []string
	for _, e := range v.events {
		if e.Proposal == id {
			all = append(all, string(e.Stage))
		}
	}
	return strings.Join(all, " ")
}

func (v *watch) log() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.logs.String()
}

// seen waits until the watcher has looked at that head.
func (v *watch) seen(head uint64) {
	v.t.Helper()
	eventually(v.t, fmt.Sprintf("head %d is seen", head), func() bool { s := v.Status(); return s.State == Following && s.Head >= head }, v)
}

// queued are the names of the plans in the queue, as the queue reads them.
func (v *watch) queued() string {
	filings, problems := upgrade.NewQueue(upgrade.QueueConfig{Home: v.home, Data: filepath.Join(v.home.Root, "data")}).Look()
	var names []string
	for _, f := range filings {
		names = append(names, fmt.Sprintf("%s@%d by %s", f.Name, f.Height, f.By))
	}
	for _, p := range problems {
		names = append(names, "bad: "+p.Reason)
	}
	return strings.Join(names, ", ")
}

func eventually(t *testing.T, what string, ok func() bool, v ...*watch) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			for _, v := range v {
				t.Logf("%+v\n%s", v.Status(), v.log())
			}
			t.Fatalf("want %s within 20s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func home(t *testing.T) upgrade.Home { return upgrade.Home{Root: t.TempDir(), Name: "wemixd"} }
