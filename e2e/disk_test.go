//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	tc "github.com/testcontainers/testcontainers-go"
)

func TestDiskNearlyFullIsSaidOnceAndTakenBackOnce(t *testing.T) {
	t.Parallel()
	const size = 256 << 20
	args := append(append([]string{}, develop...), "--datadir.minfreedisk=0", "--cache=64") // else geth ends by itself below 512 MB
	hook := listen(t)
	b := launch(t, image, args,
		tc.WithEnv(map[string]string{
			"DAEMON_METRICS_INTERVAL": "1s", "DAEMON_HEALTH_CHECK_INTERVAL": "1s",
			"DAEMON_ALERT_URLS": hook.url, "DAEMON_ALERT_FULL_WITHIN": "0s",
		}),
		tc.WithHostConfigModifier(func(h *container.HostConfig) {
			h.Tmpfs["/data/data"] = fmt.Sprintf("size=%d,uid=65532,gid=65532,mode=0755", size)
		}))
	b.ready()
	disk := func() float64 { v, _ := b.metric(`wemixvisor_check_healthy{check="disk"}`); return v }
	fired := func() float64 { v, _ := b.metric(`wemixvisor_alerts_total{alert="disk_low"}`); return v }
	told := func(state string) func() bool { return func() bool { return hook.count("disk_low", state) > 0 } }
	firing := func() float64 { v, _ := b.metric(`wemixvisor_alert_firing{alert="disk_low"}`); return v }
	b.until("a healthy disk", 10*time.Second, func() bool { return disk() == 1 && firing() == 0 })

	st, err := b.c.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join("/proc", fmt.Sprint(st.Pid), "root/data/data/filler")
	free := func() int { v, _ := b.metric(`wemixvisor_disk_free_bytes{path="/data/data"}`); return int(v) }
	// In several steps across the limits: it must not fire at each.
	for _, percent := range []int{12, 4, 3} {
		if err := grow(filler, free()-size*percent/100); err != nil {
			t.Skipf("the container's files can't be reached from here: %v", err)
		}
		b.until(fmt.Sprintf("%d percent free", percent), 10*time.Second, func() bool { return free() <= size*(percent+1)/100 })
	}
	b.until("the disk check red and the alert", 20*time.Second, func() bool { return disk() == 0 && firing() == 1 })
	if code, body := b.get("/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "/data/data: ") {
		t.Errorf("want the disk named, have %d %s", code, body)
	}
	if code, body := b.get("/readyz"); code != http.StatusOK {
		t.Errorf("want the node ready all the same, have %d %s", code, body)
	}
	if code, out := b.command("doctor"); code != 1 || !strings.Contains(out, "[red] space: /data/data") {
		t.Errorf("want doctor red for it, have %d\n%s", code, out)
	}
	if _, out := b.command("status", "--json"); !strings.Contains(out, "disk_low") {
		t.Errorf("want the alert in the status, have %s", out)
	}
	if n := fired(); n != 1 {
		t.Errorf("want it fired once, have %v times", n)
	}
	b.until("somebody told", 20*time.Second, told("firing"))

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	b.until("all well again", 30*time.Second, func() bool { return disk() == 1 && firing() == 0 })
	b.until("the end told", 20*time.Second, told("resolved"))
	if n := fired(); n != 1 {
		t.Errorf("want it fired once, have %v times", n)
	}
	if f, r := hook.count("disk_low", "firing"), hook.count("disk_low", "resolved"); f != 1 || r != 1 {
		t.Errorf("want each told once, have %d and %d", f, r)
	}
}

// webhook is a channel for alerts that containers reach.
type webhook struct {
	url string

	mu   sync.Mutex
	told map[[2]string]int // by alert and state
}

// gateway listens on the machine's side of the engine's own network, where
// containers reach it.
func gateway(t *testing.T) net.Listener {
	t.Helper()
	out, err := exec.Command("docker", "network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "bridge").Output()
	if err != nil {
		t.Fatal(err)
	}
	subnet, err := netip.ParsePrefix(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	ours := subnet.Masked().Addr().Next() // by Docker's default
	ln, err := net.Listen("tcp", netip.AddrPortFrom(ours, 0).String())
	if err != nil {
		t.Skipf("the containers' network can't be listened on from here: %v", err)
	}
	return ln
}

// listen opens a webhook.
func listen(t *testing.T) *webhook {
	t.Helper()
	ln := gateway(t)
	w := &webhook{told: map[[2]string]int{}}
	w.url = "generic://" + ln.Addr().String() + "/?disabletls=yes&template=json"
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var a struct{ Alert, State string }
		_ = json.NewDecoder(r.Body).Decode(&a)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told[[2]string{a.Alert, a.State}]++
	})}
	go srv.Serve(ln) // ends with Close
	t.Cleanup(func() { srv.Close() })
	return w
}

func (w *webhook) count(alert, state string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told[[2]string{alert, state}]
}

// grow makes a file larger by so many bytes that are really there.
func grow(file string, bytes int) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(make([]byte, max(bytes, 0)))
	return err
}
