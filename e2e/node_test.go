//go:build e2e

package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	tc "github.com/testcontainers/testcontainers-go"
)

func TestNodeStartsSealsAndStopsCleanly(t *testing.T) {
	t.Parallel()
	b := launch(t, image, develop)
	b.ready()

	first, ok := b.metric("wemixvisor_node_height")
	if !ok {
		t.Fatalf("no height in the metrics")
	}
	b.until("two more blocks", 30*time.Second, func() bool {
		height, _ := b.metric("wemixvisor_node_height")
		return height >= first+2
	})
	if code, body := b.get("/livez"); code != http.StatusOK {
		t.Fatalf("want live, have %d %s", code, body)
	}
	if code, out := b.command("probe", "ready"); code != 0 {
		t.Fatalf("want probe ready 0, have %d %s", code, out)
	}
	if code, out := b.command("doctor"); code != 0 || strings.Contains(out, "[red]") || !strings.Contains(out, "[ok] custody: the node holds its LOCK") {
		t.Fatalf("want nothing red, have %d\n%s", code, out)
	}
	if want, have := 0, b.stop(); want != have {
		t.Fatalf("want exit code %d, have %d\n%s", want, have, b.logs())
	}

	// The volume went through a clean stop: the next start must not complain.
	if err := b.c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.ready()
	if height, _ := b.metric("wemixvisor_node_height"); height < first+2 {
		t.Fatalf("want height %v or more after the restart, have %v", first+2, height)
	}
	if logs := b.logs(); strings.Contains(logs, "Unclean shutdown") {
		t.Fatalf("the stop was not clean\n%s", logs)
	}
}

func TestPeopleStopAndStartTheNodeWhilePID1Stays(t *testing.T) {
	t.Parallel()
	b := launch(t, image, develop)
	b.ready()

	if code, out := b.command("stop"); code != 0 {
		t.Fatalf("stop: %d %s", code, out)
	}
	if code, _ := b.get("/livez"); code != http.StatusOK {
		t.Fatalf("want live while stopped on purpose, have %d", code)
	}
	if code, body := b.get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "stopped") {
		t.Fatalf("want not ready and why, have %d %s", code, body)
	}
	var st struct {
		State  string `json:"state"`
		PID    int    `json:"pid"`
		Reason string `json:"reason"`
	}
	code, out := b.command("status", "--json")
	if err := json.Unmarshal([]byte(out), &st); code != 0 || err != nil {
		t.Fatalf("status: %d %v %s", code, err, out)
	}
	if st.State != "stopped" || st.PID != 0 || st.Reason == "" {
		t.Fatalf("want stopped, no pid and a reason, have %+v", st)
	}
	if code, out := b.command("doctor"); code != 0 {
		t.Fatalf("want nothing red while stopped on purpose, have %d\n%s", code, out)
	}
	if code, out := b.command("start"); code != 0 {
		t.Fatalf("start: %d %s", code, out)
	}
	if code, _ := b.command("start"); code != 4 {
		t.Fatalf("want 4 for a node that runs already, have %d", code)
	}
	b.ready()
	if code, out := b.command(append([]string{"restart", "--identity=second"}, develop[1:]...)...); code != 0 {
		t.Fatalf("restart: %d %s", code, out)
	}
	if _, out := b.command("status", "--json"); !strings.Contains(out, "--identity=second") {
		t.Fatalf("want the new arguments, have %s", out)
	}
	// RPC answers before geth catches TERM; a new block comes after that.
	height, _ := b.metric("wemixvisor_node_height")
	b.until("a new block", 30*time.Second, func() bool {
		now, _ := b.metric("wemixvisor_node_height")
		return now > height
	})
}

func TestKilledNodeIsRestarted(t *testing.T) {
	t.Parallel()
	b := launch(t, image, develop)
	b.ready()
	if err := syscall.Kill(b.node(), syscall.SIGKILL); err != nil {
		t.Skipf("the node can't be killed from here: %v", err)
	}
	b.until("restart counted", 30*time.Second, func() bool {
		n, _ := b.metric(`wemixvisor_node_restarts_total{reason="exit"}`)
		return n == 1
	})
	b.ready()
	if n, _ := b.metric(`wemixvisor_node_exits_total{code="137"}`); n != 1 {
		t.Fatalf("want one exit 137, have %v", n)
	}
}

func TestNodeKilledForMemoryIsNamed(t *testing.T) {
	t.Parallel()
	b := launch(t, image, append(develop, "--rpc.gascap=0", "--cache=64"),
		memory(400<<20), tc.WithEnv(map[string]string{"DAEMON_MAX_RESTARTS": "0"}), tc.WithExposedPorts("8545/tcp"))
	b.ready()
	// A call that returns a gigabyte of memory: PUSH1 1 PUSH4 2^30 MSTORE,
	// PUSH4 2^30 PUSH1 0 RETURN.
	b.rpc(`{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"data":"0x600163400000005263400000006000f3"},"latest"]}`)
	if want, have := 137, b.code(); want != have {
		t.Fatalf("want exit code %d, have %d\n%s", want, have, b.logs())
	}
	if logs := b.logs(); !strings.Contains(logs, "out of memory") {
		t.Fatalf("want the log to name it\n%s", logs)
	}
}

func TestCrashLoopEndsWithTheNodesCodeAndWords(t *testing.T) {
	t.Parallel()
	b := launch(t, image, []string{"run", "--no-such-flag"}, tc.WithEnv(map[string]string{"DAEMON_MAX_RESTARTS": "1"}))
	if want, have := 1, b.code(); want != have {
		t.Fatalf("want exit code %d, have %d", want, have)
	}
	if logs := b.logs(); !strings.Contains(logs, "wemixvisor: node keeps failing") || !strings.Contains(logs, "no-such-flag") {
		t.Fatalf("want the node's own words in the last line\n%s", logs)
	}
}

func TestImageWithoutANodeSaysSo(t *testing.T) {
	t.Parallel()
	b := launch(t, base, []string{"run"})
	if want, have := 127, b.code(); want != have {
		t.Fatalf("want exit code %d, have %d", want, have)
	}
	if logs := b.logs(); !strings.Contains(logs, "wemixd") {
		t.Fatalf("want the missing binary named, have %s", logs)
	}
}

func TestPlainVolumeIsTakenOverAsItIs(t *testing.T) {
	t.Parallel()
	volume := func(name string) tc.CustomizeRequestOption {
		return tc.WithHostConfigModifier(func(h *container.HostConfig) { h.Binds = []string{name + ":/data"} })
	}
	name := "wemixvisor-e2e-plain-" + strconv.Itoa(os.Getpid())
	t.Cleanup(func() { _ = exec.Command("docker", "volume", "rm", "-f", name).Run() })

	plain := launch(t, image, append([]string{"exec", "wemixd"}, develop[1:]...), volume(name))
	plain.until("a block", time.Minute, func() bool { return strings.Contains(plain.logs(), "Chain head was updated") })
	if want, have := 0, plain.stop(); want != have {
		t.Fatalf("want exit code %d, have %d\n%s", want, have, plain.logs())
	}

	b := launch(t, image, develop, volume(name))
	b.ready()
	if logs := b.logs(); strings.Contains(logs, "Unclean shutdown") || strings.Contains(logs, "Writing default") {
		t.Fatalf("want the volume as it was\n%s", logs)
	}
	b.stop()
}

func TestNodeInAnotherFolderIsNoticed(t *testing.T) {
	t.Parallel()
	args := append([]string{}, develop...)
	args[1] = "--datadir=/data/elsewhere"
	b := launch(t, image, args)
	b.until("the warning", time.Minute, func() bool { return strings.Contains(b.logs(), "holds no LOCK below data-dir") })
	if code, out := b.command("doctor"); code != 1 || !strings.Contains(out, "[red] custody: ") {
		t.Fatalf("want doctor red for it, have %d\n%s", code, out)
	}
}

func TestCosmovisorHabitGetsAHint(t *testing.T) {
	t.Parallel()
	b := launch(t, image, []string{"run", "start"}, tc.WithEnv(map[string]string{"DAEMON_MAX_RESTARTS": "0"}))
	if b.code() == 0 {
		t.Fatal("want a failure, have 0")
	}
	if logs := b.logs(); !strings.Contains(logs, "no command start") {
		t.Fatalf("want a hint\n%s", logs)
	}
}
