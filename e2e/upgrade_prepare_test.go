//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	tc "github.com/testcontainers/testcontainers-go"
)

// runsOnPast waits for blocks past a height: whatever was refused, the node runs on.
func (b *box) runsOnPast(height uint64) {
	b.t.Helper()
	b.until("blocks", 30*time.Second, func() bool { return b.head() > height })
}

// A hook that converts the database must find its room. Where that is not there
// the plan is not ready, and nobody stops the node to see.
func TestHookWithoutItsRoomStopsNobody(t *testing.T) {
	t.Parallel()
	b := launch(t, several, develop, holding("old", append(hooking("0"), "DAEMON_ALLOW_DOWNLOAD_BINARIES=true")...))
	b.ready()
	pid, at := b.node(), b.head()+2
	b.put("/data/data", "upgrade-info.json", string(trigger(t, "v1.16.9", at, "new", "file:///opt", map[string]any{"free": 1 << 60})))
	if p := b.becomes("v1.16.9", "not-ready"); !strings.Contains(p.Reason, "room for the hook") || !strings.Contains(p.Reason, "1073741824 GiB are needed") {
		t.Errorf("want the room it lacks, have %q", p.Reason)
	}
	b.until("it said that it is late", 30*time.Second, func() bool {
		_, out := b.command("status", "--json")
		return strings.Contains(out, "due and not ready")
	})
	b.runsOnPast(at)
	if now := b.node(); now != pid {
		t.Errorf("want the node never stopped")
	}
	if _, there := b.read("/data/data/geth/hooked"); there {
		t.Errorf("want no hook run")
	}

	b.put("/data/data", "upgrade-info.json", string(trigger(t, "v1.16.9", at, "new", "file:///opt", map[string]any{"free": 1 << 20, "timeout": "1m"})))
	b.becomes("v1.16.9", "done")
	b.runs("v1.16.9")
	if _, there := b.read("/data/data/geth/hooked"); !there {
		t.Errorf("want the hook run")
	}
}

// A plan for a height past a fork of the running binary is one too late, most
// times: it is said wherever the plan is shown.
func TestPlanPastAForkIsWarnedOf(t *testing.T) {
	t.Parallel()
	fork := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	args := append(append([]string{}, develop...), "--http.api=eth,net,web3,admin", fmt.Sprintf("--override.verkle=%d", fork.Unix()))
	b := launch(t, several, args, holding("old"))
	b.ready()
	b.until("the time of a block", 30*time.Second, func() bool { return b.head() > 3 })
	warning := "the running binary goes through the fork verkle at " + fork.Format(time.RFC3339) + " first"
	for _, tc := range []struct {
		name   string
		height uint64
		warned bool
	}{
		{"early", b.head() + 600, false},
		{"late", b.head() + 7200, true},
	} {
		for _, args := range [][]string{
			{"schedule", tc.name, strconv.FormatUint(tc.height, 10), "--binary", "/opt/new/wemixd"},
			{"check", tc.name},
			{"status", tc.name},
			{"status", tc.name, "--json"},
		} {
			code, out := b.command(append([]string{"upgrade"}, args...)...)
			if warned := strings.Contains(out, warning); code != 0 || warned != tc.warned {
				t.Errorf("%v: want exit 0 and a warning: %v, have %d\n%s", args, tc.warned, code, out)
			}
		}
	}
	if logs := b.logs(); strings.Count(logs, warning) != 1 {
		t.Errorf("want it said once in the log\n%s", logs)
	}
}

// What a server sends is not put in place unless it is what the plan wants, and
// a connection that breaks off costs no more than what had not arrived yet.
func TestDownloadIsRefusedOrResumed(t *testing.T) {
	t.Parallel()
	d, at := openDepot(t), volume(t, "download")
	lay(t, "download", entry{"ca.pem", d.ca, ""})
	b := launch(t, several, develop, holding("old", "SSL_CERT_FILE=/data/ca.pem", "DAEMON_ALLOW_DOWNLOAD_BINARIES=true"), at("/data"))
	b.ready()
	pid := b.node()
	schedule := func(name, node, sum string) (int, string) {
		return b.command("upgrade", "schedule", name, "0", "--url", d.url+"/"+node+"/wemixd", "--checksum", sum)
	}
	if code, out := schedule("wrong", "failing", checksum(t, "new")); code != 5 || !strings.Contains(out, "checksum mismatch") {
		t.Errorf("want exit 5 and why, have %d %s", code, out)
	}
	if p := b.plans()["wrong"]; p.Stage != "not-ready" {
		t.Errorf("want it not ready, have %+v", p)
	}
	if _, there := b.read("/data/wemixvisor/upgrades/wrong"); there {
		t.Errorf("want nothing put in place")
	}
	b.runsOnPast(b.head() + 1)
	if now := b.node(); now != pid {
		t.Errorf("want the node never stopped")
	}
	if code, out := b.command("upgrade", "cancel", "wrong"); code != 0 {
		t.Fatalf("cancel: %d %s", code, out)
	}

	before := len(d.wanted())
	const cut = 20 << 20
	d.cutAt(cut)
	if code, out := schedule("v1.16.9", "new", checksum(t, "new")); code != 0 {
		t.Fatalf("want it fetched, have %d %s", code, out)
	}
	wanted := d.wanted()[before:]
	var from int64
	if len(wanted) == 2 {
		_, _ = fmt.Sscanf(wanted[1], "bytes=%d-", &from)
	}
	if len(wanted) != 2 || wanted[0] != "" || from <= cut/2 || from > cut {
		t.Errorf("want all of it, then what was missing, have %q", wanted)
	}
	b.becomes("v1.16.9", "done")
	b.runs("v1.16.9")
}

// Where a new binary has no room the old one runs on, and it is taken up by
// itself when there is.
func TestBinaryWithoutRoomStopsNobody(t *testing.T) {
	t.Parallel()
	b := launch(t, several, develop, holding("old", "DAEMON_ALLOW_DOWNLOAD_BINARIES=true"),
		tc.WithHostConfigModifier(func(h *container.HostConfig) {
			h.Tmpfs["/data/wemixvisor"] = "exec,size=128m,uid=65532,gid=65532,mode=0755"
		}))
	b.ready()
	dir, pid := b.root("/data/wemixvisor"), b.node()
	filler := filepath.Join(dir, "filler")
	if err := grow(filler, 48<<20); err != nil { // beside the node's 47 MiB
		t.Fatal(err)
	}
	if code, out := b.command("upgrade", "schedule", "staged", "0", "--binary", "/opt/new/wemixd"); code != 6 || !strings.Contains(out, "no space") {
		t.Errorf("want exit 6 and why, have %d %s", code, out)
	}
	code, out := b.command("upgrade", "schedule", "fetched", "0", "--url", "file:///opt/new/wemixd", "--checksum", checksum(t, "new"))
	if code != 6 || !strings.Contains(out, "no space") {
		t.Errorf("want exit 6 and why, have %d %s", code, out)
	}
	if plans := b.plans(); len(plans) != 1 || plans["fetched"].Stage != "not-ready" {
		t.Errorf("want one plan that is not ready, have %+v", plans)
	}
	b.runsOnPast(b.head() + 2)
	if now := b.node(); now != pid {
		t.Errorf("want the node never stopped")
	}
	for _, pattern := range []string{"upgrades/*", "upgrades/.*", ".downloads/*"} {
		if left, _ := filepath.Glob(filepath.Join(dir, pattern)); len(left) != 0 {
			t.Errorf("want nothing left, have %v", left)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	b.becomes("fetched", "done")
	b.runs("v1.16.9")
}
