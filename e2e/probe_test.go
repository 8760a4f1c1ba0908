//go:build e2e

package e2e

import (
	"context"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	tc "github.com/testcontainers/testcontainers-go"
)

// Not parallel: it measures a time, and the others would be measured along.
func TestReadySoonAfterRPCAnswers(t *testing.T) {
	b := launch(t, image, develop, tc.WithExposedPorts("8545/tcp"))
	rpc, err := b.c.PortEndpoint(t.Context(), "8545/tcp", "http")
	if err != nil {
		t.Fatal(err)
	}
	up := soon(t, func(ctx context.Context) bool { return blockNumber(ctx, rpc) != "" })
	ready := soon(t, func(ctx context.Context) bool { return answers(ctx, b.url()+"/readyz") })
	t.Logf("ready %s after RPC answered", ready.Sub(up).Round(time.Millisecond))
	if after := ready.Sub(up); after > 2*time.Second {
		t.Fatalf("want ready within 2s of RPC, have %s\n%s", after, b.logs())
	}
}

func TestFrozenNodeIsNotReadyAndLaterNotLive(t *testing.T) {
	t.Parallel()
	const headAge, silence = 5 * time.Second, 20 * time.Second
	b := launch(t, image, develop, tc.WithEnv(map[string]string{
		"DAEMON_READY_MAX_HEAD_AGE":    headAge.String(),
		"DAEMON_LIVE_MAX_RPC_SILENCE":  silence.String(),
		"DAEMON_HEALTH_CHECK_INTERVAL": "1s",
	}))
	strict := b.watched(brisk)
	b.ready()
	node := b.node()
	signal := func(sig syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(node, sig); err != nil {
			t.Skipf("the node can't be signalled from here: %v", err)
		}
	}

	// Shorter than the limit: traffic goes elsewhere, and nobody is killed.
	signal(syscall.SIGSTOP)
	frozen := time.Now()
	b.until("not ready by head age", headAge+5*time.Second, func() bool { code, _ := b.get("/readyz"); return code == http.StatusServiceUnavailable })
	t.Logf("not ready %s after SIGSTOP", time.Since(frozen).Round(100*time.Millisecond))
	b.until("most of the silence", silence, func() bool {
		if code, body := b.get("/livez"); code != http.StatusOK {
			t.Fatalf("want live %s after SIGSTOP, have %d %s", time.Since(frozen), code, body)
		}
		return time.Since(frozen) > silence*3/5
	})
	if strict.serving() {
		t.Error("want no traffic for a frozen node")
	}
	signal(syscall.SIGCONT)
	b.ready()
	b.until("traffic", 10*time.Second, strict.serving)
	if kills := strict.killed(); len(kills) > 0 {
		t.Fatalf("want nobody killed for a pause, have %v", kills)
	}

	// Longer: a kill is all that helps.
	signal(syscall.SIGSTOP)
	frozen = time.Now()
	strict.truly()
	b.lost()
	b.until("a kubelet's kill", silence+30*time.Second, func() bool { return len(strict.killed()) > 0 })
	if after := time.Since(frozen); after < silence {
		t.Fatalf("want live for %s of silence, have it killed after %s: %v", silence, after, strict.killed())
	}
	if _, body := b.get("/livez"); !strings.Contains(body, "silent for") {
		t.Fatalf("want the silence named, have %s", body)
	}
	if code, out := b.command("doctor"); code != 1 || !strings.Contains(out, "[red] probes: not live") {
		t.Fatalf("want doctor red for it, have %d\n%s", code, out)
	}
	signal(syscall.SIGCONT)
	b.ready()
	if code, body := b.get("/livez"); code != http.StatusOK {
		t.Fatalf("want live again, have %d %s", code, body)
	}
}

func TestProbesDoNotReachTheNode(t *testing.T) {
	b := launch(t, image, append(append([]string{}, develop...), "--metrics", "--metrics.addr=0.0.0.0"),
		tc.WithExposedPorts("6060/tcp"))
	b.ready()
	asked := func() float64 {
		t.Helper()
		url, err := b.c.PortEndpoint(t.Context(), "6060/tcp", "http")
		if err != nil {
			t.Fatal(err)
		}
		_, text := get(t, url+"/debug/metrics/prometheus")
		n, ok := value(text, "rpc_requests")
		if !ok {
			t.Fatalf("the node does not count its RPC requests: %s", text)
		}
		return n
	}
	const window = 5 * time.Second
	quiet := asked()
	<-time.After(window) // what is measured is a time
	quiet = asked() - quiet

	// Straight to the container: a published port goes through a proxy of
	// Docker's, and that would be measured.
	address := "http://" + b.address() + ":9090"
	before := asked()
	sent, times := volley(t, address+"/readyz", 10_000, window)
	stormy := asked() - before
	t.Logf("%d probes in %s: p50 %s, p99 %s; the node was asked %.0f times, in as long without them %.0f times",
		sent, window, rank(times, 50), rank(times, 99), stormy, quiet)
	// How fast is for make bench-probe to say. Here the node, the sender and whoever
	// else is on this machine want the same cores.
	if sent < 1000 {
		t.Errorf("want thousands of answered probes, have %d", sent)
	}
	if stormy > 2*quiet+10 { // a look at the peers may fall into one window and not the other
		t.Errorf("want the node left alone, have %.0f requests instead of %.0f", stormy, quiet)
	}
}
