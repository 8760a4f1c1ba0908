package chain

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"golang.org/x/sys/unix"
)

// gethClique is the last that seals by proof of authority; make tools builds it.
const gethClique = "../../.cache/bin/geth-v1.13.15"

// signer is a real geth that seals.
type signer struct {
	dir, address, ipc, http string
	args                    []string
	said                    logBuffer
	cmd                     *exec.Cmd
	rpc                     *Client
}

// fourSigners starts a network of four, a block a second. The first offers over
// HTTP what geth does by default, and eth.
func fourSigners(t *testing.T) []*signer {
	t.Helper()
	if _, err := os.Stat(gethClique); err != nil {
		t.Skip("no " + gethClique + ": make tools builds it")
	}
	root, err := os.MkdirTemp("", "clique") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	password := filepath.Join(root, "password")
	if err := os.WriteFile(password, []byte("worthless"), 0o600); err != nil {
		t.Fatal(err)
	}
	var nodes []*signer
	for i := range 4 {
		s := &signer{dir: filepath.Join(root, fmt.Sprint(i))}
		s.ipc = filepath.Join(s.dir, "geth.ipc")
		keys := filepath.Join(root, fmt.Sprint("keys", i))
		out := output(t, "account", "new", "--keystore", keys, "--password", password, "--lightkdf")
		var ok bool
		if s.address, ok = address(regexp.MustCompile(`0x[0-9a-fA-F]{40}`).FindString(out)); !ok {
			t.Fatalf("want an account, have %s", out)
		}
		s.args = []string{
			"--datadir", s.dir, "--ipcpath", s.ipc, "--networkid", "77078", "--syncmode", "full", "--gcmode", "archive",
			"--nodiscover", "--nat", "none", "--port", "0", "--authrpc.port", "0", "--cache", "64",
			"--keystore", keys, "--unlock", s.address, "--password", password, "--miner.etherbase", s.address,
		}
		nodes = append(nodes, s)
	}
	nodes[0].args = append(nodes[0].args, "--http", "--http.port", "0", "--http.api", "eth,net,web3", "--allow-insecure-unlock")

	// All begin on four blocks, of which each sealed one. Started together on the
	// genesis block alone, each may make a first one of its own before it knows the
	// others, and then all wait for each other for ever.
	output(t, "init", "--datadir", nodes[0].dir, genesisOf(t, root, nodes))
	for i, s := range nodes {
		if i > 0 {
			s.copy(t, nodes[i-1])
		}
		s.start(t)
		s.call(t, nil, "miner_start")
		eventually(t, "a block", func() bool { return s.height() == uint64(i)+1 })
		s.end(unix.SIGTERM)
	}
	for _, s := range nodes[:3] {
		if err := os.RemoveAll(s.dir); err != nil {
			t.Fatal(err)
		}
		s.copy(t, nodes[3])
	}
	for _, s := range nodes {
		s.start(t)
	}
	for i, s := range nodes {
		s.dial(t, nodes[:i])
	}
	for _, s := range nodes {
		eventually(t, "all to know each other", func() bool {
			var peers string
			s.call(t, &peers, "net_peerCount")
			return peers == "0x3"
		})
	}
	for _, s := range nodes {
		s.call(t, nil, "miner_start")
	}
	return nodes
}

func genesisOf(t *testing.T, dir string, nodes []*signer) string {
	t.Helper()
	var set []string
	for _, s := range nodes {
		set = append(set, s.address[2:])
	}
	slices.Sort(set)
	path := filepath.Join(dir, "genesis.json")
	if err := os.WriteFile(path, []byte(`{"config":{"chainId":77078,"homesteadBlock":0,"eip150Block":0,"eip155Block":0,"eip158Block":0,
		"byzantiumBlock":0,"constantinopleBlock":0,"petersburgBlock":0,"istanbulBlock":0,"berlinBlock":0,"londonBlock":500,
		"clique":{"period":1,"epoch":30000}},"difficulty":"1","gasLimit":"30000000","alloc":{},
		"extradata":"0x`+strings.Repeat("0", 64)+strings.Join(set, "")+strings.Repeat("0", 130)+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// copy takes over the data of another, but not who that is as a peer.
func (s *signer) copy(t *testing.T, from *signer) {
	t.Helper()
	if err := os.CopyFS(s.dir, os.DirFS(from.dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.dir, "geth", "nodekey")); err != nil {
		t.Fatal(err)
	}
}

func (s *signer) start(t *testing.T) {
	t.Helper()
	s.cmd = exec.Command(gethClique, s.args...)
	s.cmd.Stderr = &s.said
	said := len(s.said.String())
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.end(unix.SIGKILL)
		if t.Failed() {
			t.Logf("%s said:\n%s", s.dir, s.said.String())
		}
	})
	var err error
	if s.rpc, err = NewClient(s.ipc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.rpc.Close)
	eventually(t, "an answer over IPC", func() bool {
		var name string
		return s.rpc.Call(t.Context(), &name, "web3_clientVersion") == nil
	})
	eventually(t, "the account to be open", func() bool { return strings.Contains(s.said.String()[said:], "Unlocked account") })
	if opened := regexp.MustCompile(`HTTP server started\s+endpoint=(127\.0\.0\.1:\d+)\s+auth=false`); slices.Contains(s.args, "--http") {
		eventually(t, "HTTP", func() bool {
			m := opened.FindAllStringSubmatch(s.said.String(), -1)
			if m != nil {
				s.http = m[len(m)-1][1]
			}
			return m != nil
		})
	}
}

// dial makes the others peers. Each has another port with every start.
func (s *signer) dial(t *testing.T, others []*signer) {
	t.Helper()
	for _, other := range others {
		var info struct{ Enode string }
		if other != s && other.rpc.Call(t.Context(), &info, "admin_nodeInfo") == nil {
			s.call(t, nil, "admin_addPeer", info.Enode)
		}
	}
}

// end signals the process and waits for it.
func (s *signer) end(sig os.Signal) {
	if s.cmd.ProcessState == nil {
		s.cmd.Process.Signal(sig)
		s.cmd.Wait()
	}
}

func (s *signer) call(t *testing.T, result any, method string, args ...any) {
	t.Helper()
	if err := s.rpc.Call(t.Context(), result, method, args...); err != nil {
		t.Fatal(err)
	}
}

func (s *signer) height() uint64 {
	var h header
	_ = s.rpc.Call(context.Background(), &h, "eth_getBlockByNumber", "latest", false)
	return uint64(h.Number)
}

func output(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(gethClique, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("geth %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	late := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-late:
			t.Fatalf("want %s", what)
		case <-tick.C:
		}
	}
}

// TestFourSigners watches a real network lose one signer, then a second.
func TestFourSigners(t *testing.T) {
	t.Parallel()
	nodes := fourSigners(t)
	// The first over HTTP, which has no clique: it is found over IPC.
	_, first := watch(t, Config{Address: nodes[0].http, IPC: filepath.Join(nodes[0].dir, "*.ipc"), Downtime: 20 * time.Second})
	second, other := watch(t, Config{Address: nodes[1].ipc, Downtime: 20 * time.Second})

	all := func(c Consensus) bool { return c.Active() == 4 && c.Versions()["v1.13.15"] == 4 }
	c := first("all four to seal", all)
	if c.Kind != Clique || len(c.Validators) != 4 || c.Quorum != 3 || c.Self != nodes[0].address || !c.IsActive() {
		t.Fatalf("want four signers, have %+v", c)
	}
	if c.BlockPeriod != time.Second || c.EpochLength != 30000 || c.Slot.Length != 32 || c.Slot.Of != 4 || c.Slot.Index < 0 {
		t.Errorf("want the genesis' settings and a place in the slot, have %s, %d, %+v", c.BlockPeriod, c.EpochLength, c.Slot)
	}
	if have := c.ForksUntil(500); len(have) != 1 || have[0].Name != "london" {
		t.Errorf("want london ahead, have %v of %v", have, c.Forks)
	}
	if have, want := c.Rollout("1.13.15-stable"); have != 4 || want != 3 {
		t.Errorf("want 4 of 3, have %d of %d", have, want)
	}
	if theirs := other("the same", all); theirs.Self != nodes[1].address || theirs.Slot.Index == c.Slot.Index {
		t.Errorf("want each to know itself and another place, have %+v and %+v", c.Slot, theirs.Slot)
	}
	if os.Getenv("WEMIXVISOR_LONG") != "" {
		from, since := second.Consensus(), time.Now()
		to := other("ten blocks more", func(c Consensus) bool { return c.Head.Number >= from.Head.Number+10 })
		t.Logf("%.1f calls a second about consensus", float64(to.Calls-from.Calls)/time.Since(since).Seconds())
	}

	down := nodes[0].height()
	nodes[3].end(unix.SIGKILL)
	c = first("three to seal", func(c Consensus) bool { return c.Head.Number > down && c.Active() == 3 })
	// The dead one's last block may have come just before, and polls are 3s apart.
	if took := c.Head.Number - down; took > 4+1+4 {
		t.Errorf("want it noticed within a round, have it after %d blocks", took)
	}
	for _, v := range c.Validators {
		if v.Active == (v.Address == nodes[3].address) {
			t.Errorf("want the dead one missing alone, have %+v", v)
		}
	}
	if ok, reason := c.MayStop(time.Now()); ok || !strings.Contains(reason, "only 3 of 4 validators seal and the quorum is 3: without this one it is 2") {
		t.Errorf("want no more to stop, have %v, %q", ok, reason)
	}
	if os.Getenv("WEMIXVISOR_LONG") == "" {
		return
	}
	// Two of four are no majority: it halts, and then there is nothing to lose.
	nodes[2].end(unix.SIGKILL)
	halted := func() bool {
		ok, reason := second.Consensus().MayStop(time.Now())
		return ok && strings.Contains(reason, "the chain stands since block")
	}
	eventually(t, "it to halt", halted)
	if c := second.Consensus(); c.Head.Age(time.Now()) < 20*time.Second {
		t.Errorf("want it open for the halt alone, have %+v", c)
	}
}

// TestFourSignersTakeTurns has all four of a real network wish to be restarted
// at the same moment, each behind its gate and away for 10 s.
func TestFourSignersTakeTurns(t *testing.T) {
	if os.Getenv("WEMIXVISOR_LONG") == "" {
		t.Skip("takes minutes: WEMIXVISOR_LONG=1 runs it")
	}
	t.Parallel()
	nodes := fourSigners(t)
	eventually(t, "the first block of all", func() bool { return nodes[0].height() > 4 }) // the others are of before
	first := nodes[0].height()
	var away, most atomic.Int32
	var all sync.WaitGroup
	began := time.Now()
	for i, s := range nodes {
		f, wait := watch(t, Config{Address: s.ipc, Downtime: 20 * time.Second})
		wait("all four to seal", func(c Consensus) bool { return c.Active() == 4 })
		gate := NewGate(GateConfig{Follower: f, Timeout: time.Hour})
		before := f.Consensus().Calls
		all.Go(func() {
			if err := gate.Wait(t.Context()); err != nil {
				t.Error(err)
				return
			}
			stopped := time.Now()
			most.Store(max(most.Load(), away.Add(1)))
			c := f.Consensus()
			t.Logf("signer %d goes at %d, after %s with %.1f calls a second", i, c.Head.Number,
				stopped.Sub(began).Round(time.Second), float64(c.Calls-before)/stopped.Sub(began).Seconds())
			s.end(unix.SIGTERM)
			f.NodeStopped()
			<-time.After(10 * time.Second) // as long as a database takes to open
			s.start(t)
			f.NodeStarted(time.Now())
			s.dial(t, nodes)
			s.call(t, nil, "miner_start")
			away.Add(-1)
		})
	}
	all.Wait()
	if most.Load() != 1 {
		t.Errorf("want one away at a time, have %d", most.Load())
	}
	var longest, last time.Duration
	head := nodes[0].height()
	for n := first; n <= head; n++ {
		var h header
		nodes[0].call(t, &h, "eth_getBlockByNumber", hexutil.EncodeUint64(n), false)
		at := time.Duration(h.Timestamp) * time.Second
		if last > 0 {
			longest = max(longest, at-last)
		}
		last = at
	}
	t.Logf("all four after %s and %d blocks; the chain stood for %s at most", time.Since(began).Round(time.Second), head, longest)
	if longest > 3*time.Second {
		t.Errorf("want no stall beyond three block periods, have %s", longest)
	}
}
