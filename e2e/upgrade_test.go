//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	tc "github.com/testcontainers/testcontainers-go"
)

// several is an image that holds several nodes; PATH says which is its own.
const several = "wemixvisor-node:upgrades"

// holding are the settings of a container whose image has one of them.
func holding(node string, more ...string) tc.CustomizeRequestOption {
	env := map[string]string{
		"PATH": "/opt/" + node + ":/usr/local/bin", "BADNODE_GETH": "/opt/new/wemixd",
		"DAEMON_CONFIRM_TIME": "3s", "DAEMON_CONFIRM_TIMEOUT": "20s",
	}
	for _, pair := range more {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	return tc.WithEnv(env)
}

// plan is one upgrade as upgrade list tells it.
type plan struct {
	Name, Stage, Reason, Version string
	Height                       uint64
	Steps                        []struct{ Stage string }
	Switch                       struct {
		Previous, Snapshot string
		Head               uint64
	}
}

// plans returns all there are, by name.
func (b *box) plans() map[string]plan {
	b.t.Helper()
	code, out := b.command("upgrade", "list", "--json")
	var list []plan
	if err := json.Unmarshal([]byte(out), &list); code != 0 || err != nil {
		return nil
	}
	byName := map[string]plan{}
	for _, p := range list {
		byName[p.Name] = p
	}
	return byName
}

// becomes waits for a plan's stage.
func (b *box) becomes(name, stage string) plan {
	b.t.Helper()
	var p plan
	b.until(name+" "+stage, 90*time.Second, func() bool { p = b.plans()[name]; return p.Stage == stage })
	return p
}

// schedule plans an upgrade to one of the image's nodes.
func (b *box) schedule(name string, height uint64, node string) {
	b.t.Helper()
	if code, out := b.command("upgrade", "schedule", name, strconv.FormatUint(height, 10), "--binary", "/opt/"+node+"/wemixd"); code != 0 {
		b.t.Fatalf("schedule %s: %d %s\n%s", name, code, out, b.logs())
	}
}

// head is the node's, as a block number.
func (b *box) head() uint64 { return uint64(b.height()) }

// version is what the running node calls itself.
func (b *box) version() string {
	_, out := b.command("status", "--json")
	var st struct{ Version, Upgrade string }
	_ = json.Unmarshal([]byte(out), &st)
	return st.Version
}

// runs waits for a version that answers and seals.
func (b *box) runs(version string) {
	b.t.Helper()
	b.until(version+" runs", time.Minute, func() bool { return b.version() == version })
	b.ready()
}

// put writes a file into a folder of the volume.
func (b *box) put(dir, name, text string) {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
	if out, err := exec.Command("docker", "cp", file, b.c.GetContainerID()+":"+dir+"/").CombinedOutput(); err != nil {
		b.t.Fatalf("%v %s", err, out)
	}
}

// nodekey is who the node is.
const nodekey = "/data/data/geth/nodekey"

func (b *box) identity() string {
	b.t.Helper()
	key, there := b.read(nodekey)
	if !there {
		b.t.Fatalf("want %s", nodekey)
	}
	return key
}

// read returns a file of the container, running or not, if it is there.
func (b *box) read(file string) (text string, there bool) {
	b.t.Helper()
	r, err := b.c.CopyFileFromContainer(b.t.Context(), file)
	if err != nil && strings.Contains(err.Error(), "Could not find the file") {
		return "", false
	}
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	all, err := io.ReadAll(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(all), true
}

func TestUpgradeHappensAtItsHeight(t *testing.T) {
	t.Parallel()
	b := launch(t, several, develop, holding("old"))
	b.ready()
	b.runs("v1.16.8")
	began, err := b.c.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	identity := b.identity()
	at := b.head() + 6
	b.schedule("v1.16.9", at, "new")
	if p := b.plans()["v1.16.9"]; p.Stage != "prepared" || p.Version != "1.16.9-stable" {
		t.Fatalf("want it prepared, have %+v", p)
	}
	if code, out := b.command("upgrade", "check", "v1.16.9"); code != 0 {
		t.Fatalf("want nothing red, have %d\n%s", code, out)
	}
	p := b.becomes("v1.16.9", "done")
	if p.Switch.Head < at || p.Switch.Head > at+2 || p.Switch.Previous != "genesis" {
		t.Errorf("want the switch at %d, have %+v", at, p.Switch)
	}
	b.runs("v1.16.9")
	b.until("more blocks", 30*time.Second, func() bool { return b.head() > at+4 })
	if have := b.identity(); have != identity {
		t.Errorf("the node became another")
	}
	if now, err := b.c.State(t.Context()); err != nil || now.StartedAt != began.StartedAt {
		t.Errorf("want the container never restarted, have %v %v", now, err)
	}
	if _, out := b.command("status", "--json"); !strings.Contains(out, "--dev.period=1") {
		t.Errorf("want the node's arguments kept, have %s", out)
	}
	for metric, want := range map[string]float64{
		"wemixvisor_upgrades_total": 1, "wemixvisor_upgrades_success_total": 1, "wemixvisor_upgrades_pending": 0,
		"wemixvisor_upgrade_downtime_seconds_count": 1,
	} {
		if have, _ := b.metric(metric); have != want {
			t.Errorf("%s: want %v, have %v", metric, want, have)
		}
	}
	// What was done, and what makes no sense, is refused.
	for _, tc := range []struct {
		code int
		args []string
	}{
		{2, []string{"schedule", "a/b", "0"}},
		{2, []string{"schedule", "late", "1"}},
		{1, []string{"schedule", "v1.16.9", "900000", "--binary", "/opt/failing/wemixd"}},
		{1, []string{"cancel", "v1.16.9"}},
		{1, []string{"status", "nobody"}},
	} {
		if code, out := b.command(append([]string{"upgrade"}, tc.args...)...); code != tc.code {
			t.Errorf("%v: want exit %d, have %d %s", tc.args, tc.code, code, out)
		}
	}
	// One more back by hand, data and all.
	if code, out := b.command("rollback", "--data"); code != 0 {
		t.Fatalf("rollback: %d %s", code, out)
	}
	b.runs("v1.16.8")
	if have := b.identity(); have != identity {
		t.Errorf("the node became another")
	}
}

func TestFailedUpgradeGoesBackOnce(t *testing.T) {
	t.Parallel()
	b := launch(t, several, develop, holding("new"))
	b.ready()
	b.schedule("v1.17.8", b.head()+3, "failing")
	p := b.becomes("v1.17.8", "rolled-back")
	if !strings.Contains(p.Reason, "bals.cidx") {
		t.Errorf("want the node's own words, have %q", p.Reason)
	}
	b.runs("v1.16.9")
	starts := strings.Count(b.logs(), "stage=switching")
	height := b.head()
	b.until("blocks, and no second try", 30*time.Second, func() bool { return b.head() > height+4 })
	if have := strings.Count(b.logs(), "stage=switching"); have != starts || starts != 1 {
		t.Errorf("want one try, have %d then %d", starts, have)
	}
	b.until("an alert", 30*time.Second, func() bool { n, _ := b.metric(`wemixvisor_alert_firing{alert="upgrade_rolled_back"}`); return n == 1 })
	if code, out := b.command("upgrade", "retry", "v1.17.8"); code != 0 {
		t.Fatalf("retry: %d %s", code, out)
	}
	b.until("a second try", time.Minute, func() bool { n, _ := b.metric("wemixvisor_upgrades_rolled_back_total"); return n == 2 })
	b.runs("v1.16.9")
}

func TestBinariesThatMisbehave(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, stage, reason, runs string
		env                       []string
	}{
		{"never answers", "rolled-back", "RPC never answered", "v1.16.8", []string{"BADNODE=silent"}},
		{"crashes late in its trial", "rolled-back", "badnode has had enough", "v1.16.8", []string{"BADNODE=crash", "BADNODE_AFTER=5500ms", "DAEMON_CONFIRM_TIME=6s"}},
		{"stands still", "unconfirmed", "stays at", "v1.16.9", []string{"BADNODE=still", "DAEMON_READY_MAX_HEAD_AGE=0s"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := launch(t, several, develop, holding("old", tc.env...))
			b.ready()
			b.schedule("bad", 0, "bad")
			if p := b.becomes("bad", tc.stage); !strings.Contains(p.Reason, tc.reason) {
				t.Errorf("want %q said, have %q", tc.reason, p.Reason)
			}
			b.runs(tc.runs)
		})
	}
}

func TestNodeThatEndsByItselfAtTheHeightIsUpgraded(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"0", "1"} {
		t.Run("exit "+code, func(t *testing.T) {
			t.Parallel()
			b := launch(t, several, develop, holding("bad", "BADNODE=exit="+code, "BADNODE_HEIGHT=12", "BADNODE_GETH=/opt/old/wemixd"))
			b.ready()
			b.schedule("v1.16.9", 12, "new")
			b.becomes("v1.16.9", "done")
			b.runs("v1.16.9")
			if n, _ := b.metric(`wemixvisor_node_restarts_total{reason="exit"}`); n != 0 {
				t.Errorf("want no crash counted, have %v", n)
			}
		})
	}
}

func TestFivePlansInABatchNeedNobody(t *testing.T) {
	t.Parallel()
	b := launch(t, several, develop, holding("old", "DAEMON_CONFIRM_TIME=500ms"))
	b.ready()
	first := b.head() + 5
	var csv strings.Builder
	for i, node := range []string{"new", "old", "new", "old", "new"} {
		fmt.Fprintf(&csv, "b%d,/opt/%s/wemixd,%d\n", i+1, node, first+4*uint64(i))
	}
	b.put("/data", "five.csv", csv.String())
	if code, out := b.command("plan", "add", "/data/five.csv"); code != 0 {
		t.Fatalf("plan add: %d %s", code, out)
	}
	if code, out := b.command("plan", "show", "five", "--json"); code != 0 || !strings.Contains(out, `"b5"`) {
		t.Fatalf("plan show: %d %s", code, out)
	}
	b.becomes("b5", "done")
	for name, p := range b.plans() {
		if p.Stage != "done" && p.Stage != "superseded" {
			t.Errorf("want %s done, have %+v", name, p)
		}
	}
	b.runs("v1.16.9")
}

func volumeName(name string) string {
	return "wemixvisor-e2e-" + name + "-" + strconv.Itoa(os.Getpid())
}

// volume is a named one, to be mounted at a path, gone with the test.
func volume(t *testing.T, name string) func(path string) tc.CustomizeRequestOption {
	name = volumeName(name)
	t.Cleanup(func() { _ = exec.Command("docker", "volume", "rm", "-f", name).Run() })
	return func(path string) tc.CustomizeRequestOption {
		return tc.WithHostConfigModifier(func(h *container.HostConfig) { h.Binds = []string{name + ":" + path} })
	}
}

func TestNewImageUpgradesTheNode(t *testing.T) {
	t.Parallel()
	at := volume(t, "image")
	b := launch(t, several, develop, holding("old"), at("/data"))
	b.ready()
	b.stop()

	for _, policy := range []string{"ignore", "seed"} {
		b = launch(t, several, develop, holding("new", "DAEMON_IMAGE_POLICY="+policy), at("/data"))
		b.runs("v1.16.8")
		if told := strings.Contains(b.logs(), "not adopted"); told != (policy == "seed") {
			t.Errorf("%s: want it told only under seed, have %v", policy, told)
		}
		b.stop()
	}

	b = launch(t, several, develop, holding("new"), at("/data"))
	b.runs("v1.16.9")
	b.until("done", time.Minute, func() bool {
		for name, p := range b.plans() {
			if strings.HasPrefix(name, "image-1.16.9") && p.Stage == "done" && p.Switch.Snapshot != "" {
				return true
			}
		}
		return false
	})
	b.stop()

	b = launch(t, several, develop, holding("old"), at("/data")) // an older one is not adopted
	b.runs("v1.16.9")
	if logs := b.logs(); !strings.Contains(logs, "not adopted") || !strings.Contains(logs, "wemixvisor rollback") {
		t.Errorf("want it said, and how to go back\n%s", logs)
	}
}

func TestVolumeMayMoveBetweenUpgrades(t *testing.T) {
	t.Parallel()
	at := volume(t, "moved")
	b := launch(t, several, develop, holding("old"), at("/data"))
	b.ready()
	b.schedule("v1.16.9", 0, "new")
	b.becomes("v1.16.9", "done")
	b.stop()

	elsewhere := append([]string{}, develop...)
	elsewhere[1] = "--datadir=/data/moved/data"
	b = launch(t, several, elsewhere, holding("old", "DAEMON_HOME=/data/moved"), at("/data/moved"))
	b.runs("v1.16.9")
	b.schedule("again", b.head()+3, "old")
	if p := b.becomes("again", "done"); p.Switch.Previous != "upgrades/v1.16.9" || p.Switch.Snapshot == "" {
		t.Errorf("want an upgrade with a snapshot, have %+v", p)
	}
	b.runs("v1.16.8")
	if code, out := b.command("rollback", "--data"); code != 0 {
		t.Fatalf("rollback: %d %s", code, out)
	}
	b.runs("v1.16.9")
}

// A container that is killed, or given ten seconds, in the middle of an upgrade
// comes back with one binary or the other, and ends at the new one by itself.
func TestContainerKilledInMidUpgrade(t *testing.T) {
	t.Parallel()
	moments := []string{"stage=switching", "stage=confirming"}
	if os.Getenv("WEMIXVISOR_LONG") != "" {
		moments = append(moments, "stage=scheduled", "stage=preparing", "stage=prepared", "node switched")
	}
	for _, how := range []string{"kill", "stop"} {
		for _, moment := range moments {
			t.Run(how+" at "+moment, func(t *testing.T) {
				t.Parallel()
				b := launch(t, several, develop, holding("old"))
				b.ready()
				identity := b.identity()
				done := make(chan struct{})
				go func() { // its exec may be cut off by the kill
					defer close(done)
					_ = exec.Command("docker", "exec", b.c.GetContainerID(), "wemixvisor", "upgrade", "schedule", "v1.16.9", "0", "--binary", "/opt/new/wemixd").Run()
				}()
				b.until(moment, time.Minute, func() bool { return strings.Contains(b.logs(), moment) })
				if out, err := exec.Command("docker", how, b.c.GetContainerID()).CombinedOutput(); err != nil {
					t.Fatalf("%v %s", err, out)
				}
				<-done
				if err := b.c.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				b.becomes("v1.16.9", "done")
				b.runs("v1.16.9")
				if have := b.identity(); have != identity {
					t.Errorf("the node became another")
				}
			})
		}
	}
}

// A tree as cosmovisor leaves it: binaries in genesis/bin and upgrades/NAME/bin, an
// absolute link to the place where it was made, and the trigger file that its node
// has written for a height to come.
func TestCosmovisorTreeIsTakenOverWithItsPlan(t *testing.T) {
	t.Parallel()
	const v2 = `{"name":"v1.16.9","time":"0001-01-01T00:00:00Z","height":"8","info":""}`
	at := volume(t, "cosmovisor")
	lay(t, "cosmovisor",
		entry{"cosmovisor/genesis/bin/wemixd", node(t, "old"), ""},
		entry{"cosmovisor/upgrades/v1.16.9/bin/wemixd", node(t, "new"), ""},
		entry{"cosmovisor/upgrades/v2-empty/bin/", nil, ""},
		entry{"cosmovisor/current", nil, "/root/.wemixd/cosmovisor/genesis"},
		entry{"data/upgrade-info.json", []byte(v2), ""},
	)
	b := launch(t, several, []string{"init", "--import-cosmovisor", "/data"}, holding("old"), at("/data"))
	if code := b.code(); code != 0 {
		t.Fatalf("import: %d %s", code, b.logs())
	}
	b = launch(t, several, develop, holding("old"), at("/data"))
	p := b.becomes("v1.16.9", "done")
	if p.Height != 8 || p.Switch.Head < 8 || p.Switch.Previous != "genesis" {
		t.Errorf("want it switched at its height, have %+v", p)
	}
	b.runs("v1.16.9")
}

// entry is a file of a volume, a folder where its name ends in /, or a link.
type entry struct {
	name string
	body []byte
	link string
}

// lay puts entries into a named volume, owned by the image's user.
func lay(t *testing.T, name string, entries ...entry) {
	t.Helper()
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	folders := map[string]bool{}
	add := func(h tar.Header, body []byte) {
		h.Uid, h.Gid, h.Size, h.Mode = 65532, 65532, int64(len(body)), 0o755
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range entries {
		for i, c := range e.name {
			if folder := e.name[:i+1]; c == '/' && !folders[folder] {
				folders[folder] = true
				add(tar.Header{Name: folder, Typeflag: tar.TypeDir}, nil)
			}
		}
		switch {
		case e.link != "":
			add(tar.Header{Name: e.name, Typeflag: tar.TypeSymlink, Linkname: e.link}, nil)
		case !strings.HasSuffix(e.name, "/"):
			add(tar.Header{Name: e.name, Typeflag: tar.TypeReg}, e.body)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	id, err := exec.Command("docker", "create", "-v", volumeName(name)+":/data", several).Output()
	if err != nil {
		t.Fatal(err)
	}
	box := strings.TrimSpace(string(id))
	defer exec.Command("docker", "rm", box).Run()
	into := exec.Command("docker", "cp", "-", box+":/data")
	into.Stdin = &text
	if out, err := into.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
}

// nodes is where make image has put the nodes that the images hold.
const nodes = "../.cache/image/opt/"

// node is one of them.
func node(t *testing.T, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(nodes + name + "/wemixd")
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// In validator mode a bad release takes the binary back and leaves the data, which
// goes back when somebody says so.
func TestValidatorGoesBackByItsBinaryAlone(t *testing.T) {
	t.Parallel()
	b := launch(t, several, develop, holding("old", "VALIDATOR_MODE=true", "BADNODE=crash", "BADNODE_AFTER=5500ms", "DAEMON_CONFIRM_TIME=6s"))
	b.ready()
	identity := b.identity()
	b.schedule("bad", 0, "bad")
	p := b.becomes("bad", "rolled-back")
	if !strings.Contains(p.Reason, "badnode has had enough") || strings.Contains(p.Reason, "data is back") {
		t.Errorf("want the binary alone back, have %q", p.Reason)
	}
	b.runs("v1.16.8")
	if p.Switch.Snapshot == "" || b.plans()["bad"].Switch.Snapshot == "" {
		t.Fatalf("want the snapshot kept, have %+v", p)
	}
	if code, out := b.command("rollback", "--data"); code != 0 {
		t.Fatalf("rollback --data: %d %s", code, out)
	}
	if p := b.plans()["bad"]; p.Stage != "rolled-back" || !strings.Contains(p.Reason, "data is back at height") || p.Switch.Snapshot != "" {
		t.Errorf("want the data moved, have %+v", p)
	}
	b.runs("v1.16.8")
	if have := b.identity(); have != identity {
		t.Errorf("the node became another")
	}
}
