//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	tc "github.com/testcontainers/testcontainers-go"
)

func TestDiskNearlyFullIsSaidOnceAndTakenBackOnce(t *testing.T) {
	t.Parallel()
	const size = 256 << 20
	args := append(append([]string{}, develop...), "--datadir.minfreedisk=0", "--cache=64") // else geth ends by itself below 512 MB
	b := launch(t, image, args,
		tc.WithEnv(map[string]string{"DAEMON_METRICS_INTERVAL": "1s", "DAEMON_HEALTH_CHECK_INTERVAL": "1s"}),
		tc.WithHostConfigModifier(func(h *container.HostConfig) {
			h.Tmpfs["/data/data"] = fmt.Sprintf("size=%d,uid=65532,gid=65532,mode=0755", size)
		}))
	b.ready()
	disk := func() float64 { v, _ := b.metric(`wemixvisor_check_healthy{check="disk"}`); return v }
	fired := func() float64 { v, _ := b.metric(`wemixvisor_alerts_total{alert="disk_low"}`); return v }
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

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	b.until("all well again", 30*time.Second, func() bool { return disk() == 1 && firing() == 0 })
	if n := fired(); n != 1 {
		t.Errorf("want it fired once, have %v times", n)
	}
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
