package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/probe/chain"
)

// newSigner answers for the first of three signers, of whom so many others seal.
func newSigner(t *testing.T, others int64) *chainRPC {
	t.Helper()
	c := newChainRPC(t)
	for _, digit := range []string{"a", "b", "c"} {
		c.signers = append(c.signers, "0x"+strings.Repeat(digit, 40))
	}
	c.others.Store(others)
	return c
}

// validating is a house of that signer, once the consensus is known.
func validating(t *testing.T, rpc *chainRPC, active int, env ...string) (h *house, wait func() (int, string)) {
	t.Helper()
	h = newHouse(t, steady, append([]string{"DAEMON_RPC_ADDRESS=" + rpc.url, "VALIDATOR_MODE=true"}, env...)...)
	_, wait = h.run()
	h.running(0)
	h.until("the validators", func() bool {
		st, _ := h.status()
		return st.Consensus != nil && st.Consensus.IsActive && st.Consensus.Active == active
	})
	return h, wait
}

// words is what a command has written so far.
type words struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// begin starts one command. end returns its exit code.
func (h *house) begin(args ...string) (said *words, cmd *exec.Cmd) {
	h.t.Helper()
	said = &words{}
	cmd = exec.Command(os.Args[0], args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = h.env, said, said
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	return said, cmd
}

const harm = "only 2 of 3 validators seal and the quorum is 2: without this one it is 1"

func TestStopOfAValidatorWaitsAndSaysWhy(t *testing.T) {
	t.Parallel()
	rpc := newSigner(t, 1)
	h, _ := validating(t, rpc, 2)
	pid := h.running(0)

	for _, verb := range []string{"stop", "restart"} {
		said, cmd := h.begin(verb)
		h.until(verb+" to say why it waits", func() bool { return strings.Contains(said.String(), "waiting: "+harm) })
		st, err := h.status()
		if err != nil || st.Gate == nil || st.Gate.Reason != harm || st.Gate.Since.IsZero() || st.State != "running" || st.PID != pid {
			t.Fatalf("want the reason and the node running, have %+v %v", st, err)
		}
		if _, out := h.command("status"); !strings.Contains(out, "gate") || !strings.Contains(out, harm) {
			t.Errorf("want the reason shown, have %s", out)
		}
		if code, out := h.command("restart"); code != exitBusy || !strings.Contains(out, "another stop waits") {
			t.Errorf("want a second one refused, have %d %s", code, out)
		}
		// Who gives up has stopped nothing.
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		h.until("nobody to wait", func() bool { st, err := h.status(); return err == nil && st.Gate == nil })
	}
	if have := h.running(0); have != pid {
		t.Fatalf("want the node left alone, have pid %d for %d", have, pid)
	}

	// The third is back, and it is the node's turn: the first quarter of slot 33.
	said, cmd := h.begin("restart")
	h.until("restart to wait", func() bool { return strings.Contains(said.String(), harm) })
	rpc.others.Store(2)
	rpc.halt.Store(33*32*2 + 3) // 66 is a multiple of three
	if err := cmd.Wait(); err != nil {
		t.Fatalf("want it restarted, have %v %s", err, said)
	}
	if h.running(0) == pid || h.logged("nothing is left to halt") {
		t.Error("want another process, in its turn")
	}
}

func TestForcedStopAsksNobody(t *testing.T) {
	t.Parallel()
	h, _ := validating(t, newSigner(t, 1), 2)
	said, waiting := h.begin("restart")
	h.until("a restart to wait", func() bool { return strings.Contains(said.String(), harm) })
	if code, out := h.command("stop", "--force"); code != 0 {
		t.Fatalf("want it stopped, have %d %s", code, out)
	}
	if !h.logged(harm) || !h.logged("stop --force") {
		t.Error("want what it costs in the log")
	}
	// With the node down there is nothing left to wait for.
	if err := waiting.Wait(); err != nil {
		t.Fatalf("want the restart to end, have %v %s", err, said)
	}
	h.running(0)
}

func TestSignalToAValidatorIsObeyedAtOnce(t *testing.T) {
	t.Parallel()
	h, wait := validating(t, newSigner(t, 1), 2)
	said, waiting := h.begin("restart")
	h.until("a restart to wait", func() bool { return strings.Contains(said.String(), harm) })
	began := time.Now()
	_ = h.signal(syscall.SIGTERM)
	if code, out := wait(); code != 0 || !strings.Contains(out, `msg="stopping a validator that its network needs"`) || !strings.Contains(out, harm) {
		t.Errorf("want it to leave with a warning, have %d\n%s", code, out)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("want it at once, have %s", took)
	}
	_ = waiting.Wait()
}

func TestGateEndsWithItsTime(t *testing.T) {
	t.Parallel()
	h, _ := validating(t, newSigner(t, 1), 2, "DAEMON_GATE_TIMEOUT=2s")
	began := time.Now()
	if code, out := h.command("stop"); code != 0 || time.Since(began) < 2*time.Second {
		t.Fatalf("want it stopped after its time, have %d after %s: %s", code, time.Since(began), out)
	}
	h.until("the alert", func() bool {
		st, _ := h.status()
		return strings.Contains(firing(st, "gate_overdue"), "waited for 2s and the node was stopped all the same: "+harm)
	})
	// Three turns of 32 blocks of a second are more than two seconds.
	if !h.logged("gate-timeout is shorter than the turns of all validators take") {
		t.Error("want a warning of the setting")
	}
}

func TestGateHoldsOnByPolicy(t *testing.T) {
	t.Parallel()
	h, _ := validating(t, newSigner(t, 1), 2, "DAEMON_GATE_TIMEOUT=1s", "DAEMON_GATE_POLICY=hold")
	pid := h.running(0)
	_, cmd := h.begin("stop")
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	h.until("the alert", func() bool {
		st, _ := h.status()
		return strings.Contains(firing(st, "gate_overdue"), "it waits on: "+harm)
	})
	if st, err := h.status(); err != nil || st.Gate == nil || st.PID != pid {
		t.Errorf("want it to wait on, have %+v %v", st, err)
	}
}

func firing(st api.Status, name string) string {
	for _, a := range st.Alerts {
		if a.Name == name {
			return a.Summary
		}
	}
	return ""
}

func TestNodeWithoutConsensusIsStoppedAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, steady, "DAEMON_RPC_ADDRESS="+newChainRPC(t).url, "VALIDATOR_MODE=true")
	h.run()
	h.running(0)
	h.until("the node known", func() bool { st, _ := h.status(); return st.Node.Client != "" })
	var v api.Validators
	if err := h.client().Get(context.Background(), "validators", &v); err == nil || !strings.Contains(err.Error(), "validators not known") {
		t.Errorf("want it refused, have %v", err)
	}
	if code, out := h.command("stop"); code != 0 {
		t.Fatalf("want it stopped, have %d %s", code, out)
	}
}

func TestValidatorsAreTold(t *testing.T) {
	t.Parallel()
	h, _ := validating(t, newSigner(t, 1), 2)
	var v api.Validators
	if err := h.client().Get(context.Background(), "validators", &v); err != nil {
		t.Fatal(err)
	}
	if v.Kind != chain.Clique || v.Quorum != 2 || v.Active != 2 || len(v.Validators) != 3 || v.MayStop || v.Reason != harm ||
		v.Turn.Length != 64 || v.Turn.Of != 3 || v.Turn.Next == nil || v.BlockPeriod != "1s" {
		t.Errorf("have %+v", v)
	}
	if self := v.Validators[0]; !self.Self || !self.Active || self.Version != "v1.16.9" || self.Address != v.Self {
		t.Errorf("want the node itself, have %+v", self)
	}
	want := "roll-out: 1 of 3 validators propose with v1.16.9-stable or later, it takes 2 (not known: 1, v1.16.8: 1, v1.16.9: 1); next fork prague in "
	if code, out := h.command("upgrade", "status"); code != 0 || !strings.Contains(out, want) {
		t.Errorf("want %q, have %d %s", want, code, out)
	}
	if v.Versions["v1.16.8"] != 1 || v.Rollout.Have != 1 || v.Rollout.Want != 2 || len(v.Forks) != 1 || v.Forks[0].Name != "prague" {
		t.Errorf("want versions and forks, have %v %+v %v", v.Versions, v.Rollout, v.Forks)
	}
}

func TestValidatorThatDoesNotSeal(t *testing.T) {
	t.Parallel()
	now := time.Now()
	scene := alert.Scene{Now: now, Node: probe.Node{State: "running"}}
	c := chain.Consensus{
		Started: now, Known: true, Asked: now, Kind: chain.Clique, Quorum: 2, Self: "0xa", BlockPeriod: time.Second,
		Head:       chain.Head{Number: 9, Hash: "0x1", Time: now, Seen: now},
		Validators: []chain.Validator{{Address: "0xa", Self: true}, {Address: "0xb", Active: true}, {Address: "0xc", Active: true}},
	}
	edit := func(f func(*chain.Consensus)) chain.Consensus {
		other := c
		other.Validators = append([]chain.Validator{}, c.Validators...)
		f(&other)
		return other
	}
	down := scene
	down.Node.State = "stopped"
	for _, tc := range []struct {
		name  string
		c     chain.Consensus
		scene alert.Scene
		want  string
	}{
		{"others seal", c, scene, "validator 0xa has sealed none of the last 3 blocks; 2 of 3 validators do"},
		{"it seals", edit(func(c *chain.Consensus) { c.Validators[0].Active = true }), scene, ""},
		{"it is no validator", edit(func(c *chain.Consensus) { c.Validators[0].Self = false }), scene, ""},
		{"nobody seals", edit(func(c *chain.Consensus) { c.Head.Time = now.Add(-time.Hour) }), scene, alert.Unknown},
		{"it is down", c, down, alert.Unknown},
		{"it does not answer", edit(func(c *chain.Consensus) { c.Silent = now }), scene, alert.Unknown},
		{"it has not told yet", edit(func(c *chain.Consensus) { c.Known = false }), scene, alert.Unknown},
	} {
		if have := notSealing(tc.c, tc.scene); have != tc.want {
			t.Errorf("%s: want %q, have %q", tc.name, tc.want, have)
		}
	}
}

func TestValidatorRefusesAVolumeWhoseLockMayNotBeOne(t *testing.T) {
	t.Parallel()
	nfs := func(dir string) string { return map[string]string{"/shared": "nfs"}[dir] }
	for _, tc := range []struct {
		name                string
		home, data          string
		validator, told, ok bool
	}{
		{"a local disk", "/local", "/local/data", true, false, true},
		{"the home is shared", "/shared", "/local", true, false, false},
		{"the data are shared", "/local", "/shared", true, false, false},
		{"it was told to", "/shared", "/shared", true, true, true},
		{"no validator", "/shared", "/shared", false, false, true},
	} {
		s := settings{}
		s.home, s.dataDir, s.validatorMode, s.allowRemoteVolume = tc.home, tc.data, tc.validator, tc.told
		err := s.remote(nfs)
		if tc.ok != (err == nil) || err != nil && (exitCode(err) != exitUsage || !strings.Contains(err.Error(), "/shared is on nfs")) {
			t.Errorf("%s: have %v", tc.name, err)
		}
	}
}
