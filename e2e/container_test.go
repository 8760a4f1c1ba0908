//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	tc "github.com/testcontainers/testcontainers-go"
	tcexec "github.com/testcontainers/testcontainers-go/exec"
)

const (
	base  = "wemixvisor:dev"
	image = "wemixvisor-node:dev"
)

func TestMain(m *testing.M) {
	if err := exec.Command("docker", "info").Run(); err != nil {
		fmt.Fprintln(os.Stderr, "\n=== END-TO-END TESTS DID NOT RUN: no Docker engine answers ===")
		if os.Getenv("CI") == "true" {
			os.Exit(1)
		}
		os.Exit(0)
	}
	// The reaper of testcontainers is an image to pull; we clean up ourselves.
	os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	if _, err := os.Stat("/.dockerenv"); err == nil {
		os.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	}
	os.Exit(m.Run())
}

// develop are the arguments of a development chain that seals a block a second.
var develop = []string{
	"run", "--datadir=/data/data", "--dev", "--dev.period=1",
	"--http", "--http.addr=0.0.0.0", "--http.vhosts=*", "--http.api=eth,net,web3",
}

// box is a container under test, and the kubelet that watches it all along.
type box struct {
	t       *testing.T
	c       *tc.DockerContainer
	kubelet *kubelet
}

// launch starts an image as an operator should: read-only root, no
// capabilities, no privileges to gain, not root.
func launch(t *testing.T, image string, args []string, options ...tc.ContainerCustomizer) *box {
	t.Helper()
	options = append([]tc.ContainerCustomizer{
		tc.WithCmd(args...),
		tc.WithExposedPorts("9090/tcp"),
		tc.WithConfigModifier(func(c *container.Config) { c.Volumes = map[string]struct{}{"/data": {}} }), // goes with the container
		tc.WithHostConfigModifier(func(h *container.HostConfig) {
			h.ReadonlyRootfs = true
			h.CapDrop = []string{"ALL"}
			h.SecurityOpt = []string{"no-new-privileges:true"}
			h.Tmpfs = map[string]string{"/tmp": ""}
		}),
	}, options...)
	c, err := tc.Run(t.Context(), image, options...)
	tc.CleanupContainer(t, c)
	if err != nil {
		t.Fatal(err)
	}
	b := &box{t: t, c: c}
	b.kubelet = b.watched(usual)
	return b
}

// watched puts a kubelet beside the box.
func (b *box) watched(s schedule) *kubelet {
	return watch(b.t, b.c.GetContainerID()[:12], s, func(ctx context.Context) (run, url string) {
		st, err := b.c.State(ctx)
		if err != nil || !st.Running {
			return "", ""
		}
		if url, err = b.c.PortEndpoint(ctx, "9090/tcp", "http"); err != nil {
			return "", ""
		}
		return st.StartedAt, url
	})
}

// lost says that from here on the node is truly lost: a kill is right.
func (b *box) lost() { b.kubelet.truly() }

// memory limits a container, swap included.
func memory(bytes int64) tc.CustomizeRequestOption {
	return tc.WithHostConfigModifier(func(h *container.HostConfig) { h.Memory, h.MemorySwap = bytes, bytes })
}

// url is the probe listener; empty while the container does not run.
func (b *box) url() string {
	url, err := b.c.PortEndpoint(b.t.Context(), "9090/tcp", "http")
	if err != nil {
		return ""
	}
	return url
}

// address is the container's own.
func (b *box) address() string {
	b.t.Helper()
	ip, err := b.c.ContainerIP(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return ip
}

// get asks the probe listener; 0 when nobody answers.
func (b *box) get(path string) (int, string) {
	b.t.Helper()
	return get(b.t, b.url()+path)
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// rpc sends a request to the node and does not care for the answer: the node may
// be dead by then.
func (b *box) rpc(request string) {
	b.t.Helper()
	url, err := b.c.PortEndpoint(b.t.Context(), "8545/tcp", "http")
	if err != nil {
		b.t.Fatal(err)
	}
	client := http.Client{Timeout: 20 * time.Second}
	if resp, err := client.Post(url, "application/json", strings.NewReader(request)); err == nil {
		resp.Body.Close()
	}
}

// metric returns a metric's value.
func (b *box) metric(name string) (float64, bool) {
	b.t.Helper()
	_, text := b.get("/metrics")
	return value(text, name)
}

// until waits for something to become true.
func (b *box) until(what string, limit time.Duration, ok func() bool) {
	b.t.Helper()
	until(b.t, what, limit, ok, b.logs)
}

func until(t *testing.T, what string, limit time.Duration, ok func() bool, explain func() string) {
	t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s\n%s", limit, what, explain())
		}
	}
}

func (b *box) ready() {
	b.t.Helper()
	b.until("ready", time.Minute, func() bool { code, _ := b.get("/readyz"); return code == http.StatusOK })
}

// command runs our binary inside the container.
func (b *box) command(args ...string) (int, string) {
	b.t.Helper()
	code, out, err := b.c.Exec(b.t.Context(), append([]string{"wemixvisor"}, args...), tcexec.Multiplexed())
	if err != nil {
		b.t.Fatalf("%v\n%s", err, b.logs())
	}
	text, _ := io.ReadAll(out)
	return code, strings.TrimSpace(string(text))
}

func (b *box) logs() string {
	r, err := b.c.Logs(b.t.Context())
	if err != nil {
		return err.Error()
	}
	defer r.Close()
	text, _ := io.ReadAll(r)
	return string(text)
}

// stop is docker stop; it returns the container's exit code.
func (b *box) stop() int {
	b.t.Helper()
	limit := time.Minute
	if err := b.c.Stop(b.t.Context(), &limit); err != nil {
		b.t.Fatal(err)
	}
	return b.code()
}

// code waits for the container's end and returns its exit code.
func (b *box) code() int {
	b.t.Helper()
	code := -1
	b.until("ended", time.Minute, func() bool {
		st, err := b.c.State(b.t.Context())
		if err != nil || st.Running {
			return false
		}
		code = st.ExitCode
		return true
	})
	return code
}

// node returns the node's process as the host sees it: the child of the
// container's PID 1.
func (b *box) node() int {
	b.t.Helper()
	st, err := b.c.State(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	pid := 0
	b.until("node process", 10*time.Second, func() bool {
		out, err := exec.Command("sh", "-c", fmt.Sprintf("cat /proc/%d/task/*/children", st.Pid)).Output()
		fields := bytes.Fields(out)
		if err != nil || len(fields) == 0 {
			return false
		}
		pid, _ = strconv.Atoi(string(fields[0]))
		return pid > 0
	})
	return pid
}
