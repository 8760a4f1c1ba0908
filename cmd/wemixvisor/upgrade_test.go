package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/probe/chain"
	"github.com/wemix/wemixvisor/upgrade"
)

// versioned is a node that tells its version, and else stays up.
func versioned(version string) string {
	return `[ "$1" = version ] && { echo "Version: ` + version + `"; exit 0; }` + "\n" + steady
}

// staged writes a program for an upgrade.
func staged(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "node")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func (h *house) list() []upgrade.Entry {
	h.t.Helper()
	code, out := h.command("upgrade", "list", "--json")
	var all []upgrade.Entry
	if err := json.Unmarshal([]byte(out), &all); code != 0 || err != nil {
		h.t.Fatalf("upgrade list: %d %v %s", code, err, out)
	}
	return all
}

// Both with a supervisor and without one, the same command does the same.
func TestPlansAreMadeWithASupervisorAndWithout(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("running %v", running), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, versioned("1.0.0"))
			if code, out := h.command("upgrade", "list", "--json"); code != 0 || strings.TrimSpace(out) != "[]" {
				t.Fatalf("want an empty list on an empty volume, have %d %s", code, out)
			}
			if running {
				h.run()
				h.running(0)
			} else if code, out := h.command("init"); code != 0 {
				t.Fatalf("init: %d %s", code, out)
			}
			binary := staged(t, versioned("2.0.0"))
			for _, tc := range []struct {
				args []string
				code int
				says string
			}{
				{[]string{"schedule", "v2", "100", "--binary", binary}, 0, "plan v2 for height 100 is prepared"},
				{[]string{"schedule", "v2", "100", "--binary", binary}, 0, "prepared"},
				{[]string{"schedule", "v3", "100", "--binary", binary}, 1, "v2 is planned for height 100"},
				{[]string{"schedule", "v3", "200"}, 1, "not ready"},
				{[]string{"schedule", "v4", "300", "--binary", binary, "--checksum", "sha256:" + strings.Repeat("0", 64)}, exitCorrupt, "checksum"},
				{[]string{"schedule", "v5", "400", "--binary", "/no/such/file"}, exitNotFound, "/no/such/file"},
				{[]string{"schedule", "a/b", "1"}, exitUsage, "a/b"},
				{[]string{"schedule", "v6", "-1"}, exitUsage, "-1"},
				{[]string{"schedule", "v6"}, exitUsage, "NAME HEIGHT"},
				{[]string{"schedule", "v6", "1", "--time", "soon"}, exitUsage, "time"},
				{[]string{"schedule", "v6", "1", "--at", "noon"}, exitUsage, "noon"},
				{[]string{"cancel", "v3", "--json"}, 0, `"cancelled"`},
				{[]string{"cancel", "v3"}, 1, "cancelled"},
				{[]string{"cancel", "nobody"}, 1, "no such plan"},
				{[]string{"retry", "v4"}, 0, "scheduled"},
				{[]string{"confirm", "v2"}, 1, "prepared"},
				{[]string{"status", "v2"}, 0, "2.0.0"},
				{[]string{"status"}, 0, "current genesis"},
				{[]string{"bogus"}, exitUsage, "schedule, list"},
				{nil, exitUsage, "schedule, list"},
			} {
				code, out := h.command(append([]string{"upgrade"}, tc.args...)...)
				if code != tc.code || !strings.Contains(out, tc.says) {
					t.Errorf("%v: want %d and %q, have %d %s", tc.args, tc.code, tc.says, code, out)
				}
			}
			if have := h.list(); len(have) != 3 || have[0].Name != "v2" || have[0].Stage != upgrade.Prepared || have[0].SHA256 == "" {
				t.Errorf("want v2 first, prepared, have %+v", have)
			}
			code, _ := h.command("upgrade", "check", "v2")
			if want := map[bool]int{true: exitFailed, false: exitNotRunning}[running]; code != want { // there is no RPC
				t.Errorf("check: want %d, have %d", want, code)
			}
			if code, _ := h.command("rollback"); code != map[bool]int{true: exitFailed, false: exitNotRunning}[running] {
				t.Errorf("rollback from genesis: have %d", code)
			}
		})
	}
}

func TestBatchPlansByCommand(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("running %v", running), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, versioned("1.0.0"))
			if running {
				h.run()
				h.running(0)
			} else if code, out := h.command("init"); code != 0 {
				t.Fatalf("init: %d %s", code, out)
			}
			dir := t.TempDir()
			file := func(name, text string) string {
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
				return path
			}
			file("next", "#!/bin/sh\n"+versioned("2.0.0"))
			good := file("good.json", `{"version":"1.0","name":"good","description":"two","upgrades":[{"name":"g1","height":10},{"name":"g2","height":20}]}`)
			for _, tc := range []struct {
				args []string
				code int
				says string
			}{
				{[]string{"validate", good}, 0, "g2"},
				{[]string{"add", good}, 0, "plan good with 2 upgrades"},
				{[]string{"add", file("list.csv", "c1, next, 30\nc2, next, 40\n")}, 0, "plan list with 2"},
				{[]string{"add", file("batch.json", `[{"name":"j1","height":"50"}]`)}, 0, "plan batch with 1"},
				{[]string{"list", "--json"}, 0, `"good"`},
				{[]string{"show", "list", "--json"}, 0, `"c2"`},
				{[]string{"show", "nobody"}, 1, "no such plan"},
				{[]string{"validate", file("falling.json", `{"version":"1.0","name":"x","upgrades":[{"name":"a","height":2},{"name":"b","height":1}]}`)}, exitUsage, "must rise"},
				{[]string{"validate", file("v9.json", `{"version":"9","name":"x","upgrades":[{"name":"a","height":2}]}`)}, exitUsage, `version "9"`},
				{[]string{"validate", file("half.json", `{"version":"1.0",`)}, exitUsage, "JSON"},
				{[]string{"validate", file("bad.csv", "a,b\n")}, exitUsage, "name,path,height"},
				{[]string{"add", file("nowhere.csv", "n1,nowhere,60\n")}, exitNotFound, "nowhere"},
				{[]string{"add", dir + "/none"}, exitUsage, "none"},
				{[]string{"remove", "good"}, 0, "removed"},
				{[]string{"remove", "good"}, 1, "no such plan"},
				{[]string{"remove", "../x"}, exitUsage, "name"},
			} {
				code, out := h.command(append([]string{"plan"}, tc.args...)...)
				if code != tc.code || !strings.Contains(out, tc.says) {
					t.Errorf("%v: want %d and %q, have %d %s", tc.args, tc.code, tc.says, code, out)
				}
			}
			h.until("plans taken up", func() bool {
				stages := map[string]upgrade.Stage{}
				for _, e := range h.list() {
					stages[e.Name] = e.Stage
				}
				ready := stages["c1"] == upgrade.Prepared && stages["c2"] == upgrade.Prepared
				return (ready || !running && stages["c1"] != "") && stages["j1"] != "" && (stages["g1"] == upgrade.Cancelled || stages["g1"] == "")
			})
		})
	}
}

// A download is offered to nobody's program that was not wanted: it is verified
// first, and what is wrong is said by the exit code.
func TestScheduleByURL(t *testing.T) {
	t.Parallel()
	node := "#!/bin/sh\n" + versioned("2.0.0") + "\n"
	goOn := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/node":
			fmt.Fprint(w, node)
		case "/slow":
			w.Header().Set("Content-Length", fmt.Sprint(len(node)))
			fmt.Fprint(w, node[:10])
			_ = http.NewResponseController(w).Flush()
			select {
			case <-goOn:
			case <-r.Context().Done(): // the test has failed
			}
			fmt.Fprint(w, node[10:])
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	h := newHouse(t, versioned("1.0.0"), "DAEMON_ALLOW_DOWNLOAD_BINARIES=true")
	h.run()
	h.running(0)
	for _, tc := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"wrong", []string{"--url", srv.URL + "/node", "--checksum", "sha256:" + strings.Repeat("0", 64)}, exitCorrupt, "checksum"},
		{"absent", []string{"--url", srv.URL + "/node"}, exitFailed, "checksum"},
		{"nowhere", []string{"--url", srv.URL + "/none", "--checksum", "sha256:" + strings.Repeat("0", 64)}, exitFailed, "not found"},
	} {
		if code, out := h.command(append([]string{"upgrade", "schedule", tc.name, fmt.Sprint(100 + len(tc.name))}, tc.args...)...); code != tc.code || !strings.Contains(out, tc.says) {
			t.Errorf("%s: want %d and %q, have %d %s", tc.name, tc.code, tc.says, code, out)
		}
	}
	// How far it has come can be seen.
	_, slow := h.begin("upgrade", "schedule", "slow", "200", "--url", srv.URL+"/slow", "--checksum", fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(node))))
	h.until("half of it", func() bool {
		st, err := h.status()
		return err == nil && st.Download != nil && st.Download.Name == "slow" && st.Download.Done == 10 && st.Download.Total == int64(len(node))
	})
	close(goOn)
	if err := slow.Wait(); err != nil {
		t.Errorf("want it fetched, have %v", err)
	}
	if st, err := h.status(); err != nil || st.Download != nil {
		t.Errorf("want nothing under way, have %+v %v", st.Download, err)
	}
}

func TestAlarmsOfUpgrades(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	home := upgrade.Home{Root: root, Name: "node"}
	data := filepath.Join(root, "data")
	if err := home.File(upgrade.Plan{Name: "v2", Height: 1000}); err != nil {
		t.Fatal(err)
	}
	u := upgrade.New(upgrade.Config{
		Home: home, Data: data, Queue: upgrade.NewQueue(upgrade.QueueConfig{Home: home, Data: data}), Node: supervisor.New(supervisor.Config{}),
		Facts: func() upgrade.Facts { return upgrade.Facts{Known: true, Height: 950} },
	})
	if err := u.Visit(); err != nil {
		t.Fatal(err)
	}
	a := alarms{upgrader: u}
	fires := func(blocks int) map[string]string {
		why := map[string]string{}
		for _, r := range a.upgradeRules(&settings{alertSettings: alertSettings{alertUpgrade: blocks}}) {
			if text := r.Check(alert.Scene{Facts: chain.Facts{Head: chain.Head{Number: 950, Hash: "0x1"}}}); text != "" {
				why[r.Name] = text
			}
		}
		return why
	}
	if have := fires(49); len(have) > 0 {
		t.Errorf("want nothing said 50 blocks before, have %v", have)
	}
	if have := fires(50); !strings.Contains(have["upgrade_unprepared"], "v2 is scheduled with 50 blocks left") {
		t.Errorf("want it said, have %v", have)
	}
	if _, err := u.Prepare(t.Context(), "v2"); err != nil {
		t.Fatal(err)
	}
	if have := fires(0); len(have) != 1 || !strings.Contains(have["upgrade_not_ready"], "v2 is not ready") {
		t.Errorf("want the upgrader's own alarm alone, have %v", have)
	}
}
