//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	tc "github.com/testcontainers/testcontainers-go"
)

const token = "0123456789abcdef0123456789abcdef"

// remote is the API of a box over TCP, as a script has it.
type remote struct {
	b   *box
	url string
}

// remotely opens the API of a box that runs without it, as an operator would.
func (b *box) remotely() remote {
	b.t.Helper()
	file := filepath.Join(b.root("/data"), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chown(file, 65532, 65532); err != nil {
		b.t.Fatal(err)
	}
	b.set("api-token-file", "/data/token") // without it there may be no address
	b.set("api-address", ":8080")
	b.stop()
	if err := b.c.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.sealing()
	return remote{b, "http://" + b.address() + ":8080/api/v1/"}
}

func (b *box) set(key, value string) {
	b.t.Helper()
	if code, out := b.command("config", "set", key, value); code != 0 {
		b.t.Fatalf("config set %s: %d %s", key, code, out)
	}
}

// ask sends a request and reads the answer into to, which may be nil.
func (r remote) ask(method, route, body string, to any) int {
	r.b.t.Helper()
	req, err := http.NewRequestWithContext(r.b.t.Context(), method, r.url+route, strings.NewReader(body))
	if err != nil {
		r.b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.b.t.Fatalf("%s %s: %v\n%s", method, route, err, r.b.logs())
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode >= 400 {
		var no struct{ Error, Code string }
		if err := json.Unmarshal(text, &no); err != nil || no.Error == "" || no.Code == "" {
			r.b.t.Errorf("%s %s: want error and code, have %d %s", method, route, resp.StatusCode, text)
		}
	}
	if to != nil && resp.StatusCode < 400 {
		if err := json.Unmarshal(text, to); err != nil {
			r.b.t.Errorf("%s %s: %v %s", method, route, err, text)
		}
	}
	return resp.StatusCode
}

func (r remote) want(status int, method, route, body string) {
	r.b.t.Helper()
	if have := r.ask(method, route, body, nil); status != have {
		r.b.t.Errorf("%s %s %s: want %d, have %d", method, route, body, status, have)
	}
}

// state is what of a status matters here.
type state struct {
	State, Upgrade, Network string
	PID                     int
	Change                  *struct{ Kind string }
	Node                    struct{ Height uint64 }
}

func (r remote) status() state {
	r.b.t.Helper()
	var st state
	if have := r.ask("GET", "status", "", &st); have != 200 {
		r.b.t.Fatalf("status: %d", have)
	}
	return st
}

// file reads a file of the volume, as it is on disk right now.
func (b *box) file(path string) ([]byte, error) {
	var out, errs bytes.Buffer
	cmd := exec.Command("sh", "-c", `docker cp "$0:$1" - | tar -xO`, b.c.GetContainerID(), path)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if out.Len() == 0 && err == nil {
		err = fmt.Errorf("no file %s: %s", path, errs.String())
	}
	return out.Bytes(), err
}

// TestEveryMutatingRouteOverARealNode asks for each thing, looks whether it was
// done, asks again, and asks while something else is being done to the node.
func TestEveryMutatingRouteOverARealNode(t *testing.T) {
	t.Parallel()
	b := launch(t, several, develop, holding("old", "BADNODE=still", "DAEMON_CONFIRM_TIMEOUT=5m"), tc.WithExposedPorts("8080/tcp"))
	b.ready()
	r := b.remotely()

	t.Run("every route is there", r.everyRoute)

	// The node.
	first := r.status()
	r.want(409, "POST", "node/start", "")
	r.want(200, "POST", "node/stop", "")
	if st := r.status(); st.State != "stopped" || st.PID != 0 {
		t.Errorf("want it stopped, have %+v", st)
	}
	r.want(200, "POST", "node/stop", "") // it is
	r.want(200, "POST", "node/start", "")
	b.sealing()
	second := r.status()
	r.want(200, "POST", "node/restart", "")
	b.sealing()
	if third := r.status(); first.PID == second.PID || third.PID == second.PID || third.PID == 0 {
		t.Errorf("want another process each time, have %d %d %d", first.PID, second.PID, third.PID)
	}

	// Plans of upgrades: what is answered is on disk.
	const far = `{"name":"far","height":9000000,"binary":"/opt/new/wemixd","wait":true}`
	var entry struct{ Name, Stage string }
	if have := r.ask("POST", "upgrades", far, &entry); have != 201 || entry.Stage != "prepared" {
		t.Errorf("want 201 and it prepared, have %d %+v", have, entry)
	}
	if text, err := b.file("/data/wemixvisor/queue/far.json"); err != nil || !strings.Contains(string(text), "9000000") {
		t.Errorf("want the plan on disk, have %v %s", err, text)
	}
	r.want(201, "POST", "upgrades", far) // it is
	r.want(409, "POST", "upgrades", `{"name":"far","height":9000001}`)
	r.want(422, "POST", "upgrades", `{"name":"past","height":1}`)
	r.want(422, "POST", "upgrades", `{"name":"../far","height":9000000}`)
	r.want(200, "POST", "upgrades/far/check", "")
	r.want(409, "POST", "upgrades/far/confirm", "")
	r.want(409, "POST", "upgrades/far/retry", "")
	r.want(200, "DELETE", "upgrades/far", "")
	if p := b.plans()["far"]; p.Stage != "cancelled" {
		t.Errorf("want it cancelled, have %+v", p)
	}
	r.want(409, "DELETE", "upgrades/far", "")
	if _, err := b.file("/data/wemixvisor/queue/far.json"); err == nil {
		t.Errorf("want the plan off the disk")
	}

	const batch = `{"version":"1.0","name":"year","upgrades":[{"name":"a","height":8000000},{"name":"b","height":8100000}]}`
	for range 2 {
		r.want(201, "POST", "plans", batch)
		if text, err := b.file("/data/wemixvisor/plans/year.json"); err != nil || !strings.Contains(string(text), "8100000") {
			t.Errorf("want the batch on disk, have %v %s", err, text)
		}
	}
	if all := b.plans(); all["a"].Name == "" || all["b"].Name == "" {
		t.Errorf("want both plans taken up, have %+v", all)
	}
	r.want(200, "GET", "plans/year", "")
	r.want(422, "POST", "plans", `{"version":"1.0","name":"bad","upgrades":[{"name":"a","height":2},{"name":"b","height":1}]}`)
	r.want(200, "DELETE", "plans/year", "")
	r.want(404, "DELETE", "plans/year", "")
	if all := b.plans(); all["a"].Stage != "cancelled" || all["b"].Stage != "cancelled" {
		t.Errorf("want both cancelled, have %+v", all)
	}

	// Backups.
	var a archive
	if have := r.ask("POST", "backups", "", &a); have != 201 || !a.Verified {
		t.Fatalf("want 201 and a verified backup, have %d %+v\n%s", have, a, b.logs())
	}
	if text, err := b.file("/data/backups/" + a.ID + "/info.json"); err != nil || !strings.Contains(string(text), a.ID) {
		t.Errorf("want the backup on disk, have %v %s", err, text)
	}
	r.want(200, "POST", "backups/"+a.ID+"/verify", "")
	b.sealing()
	b.until("blocks past it", 30*time.Second, func() bool { return b.head() >= a.Origin.Height+5 })
	r.want(200, "POST", "backups/"+a.ID+"/restore", "")
	b.until("the head of the backup", 20*time.Second, func() bool { return b.head() < a.Origin.Height+5 })
	b.sealing()
	r.want(200, "POST", "backups/prune", `{"dry_run":true}`)
	r.want(200, "POST", "backups/prune", "")
	if all := b.backups(); len(all) != 1 { // the last verified one stays
		t.Errorf("want it kept, have %+v", all)
	}

	// Settings.
	b.set("network", "second")
	var done struct{ Changed []string }
	if have := r.ask("POST", "config/reload", "", &done); have != 200 || !slices.Equal(done.Changed, []string{"network"}) || r.status().Network != "second" {
		t.Errorf("want the label changed, have %d %v", have, done)
	}
	if have := r.ask("POST", "config/reload", "", &done); have != 200 || len(done.Changed) != 0 {
		t.Errorf("want nothing left to change, have %d %v", have, done)
	}
	r.want(501, "POST", "alerts/test", "") // no channel is set
	r.want(409, "POST", "rollback", "")    // there is nothing before genesis

	// A node that answers and gets no block is on trial for as long as it may be:
	// a change that runs.
	r.want(201, "POST", "upgrades", `{"name":"still","height":0,"binary":"/opt/bad/wemixd"}`)
	trial := func() {
		t.Helper()
		b.until("the trial", time.Minute, func() bool { st := r.status(); return st.Change != nil && b.plans()["still"].Stage == "confirming" })
	}
	trial()
	pid := r.status().PID
	for _, route := range []string{"node/start", "node/stop", "node/restart", "backups", "backups/" + a.ID + "/restore", "upgrades/still/retry"} {
		r.want(409, "POST", route, "")
	}
	r.want(409, "DELETE", "upgrades/still", "")
	r.want(201, "POST", "upgrades", `{"name":"far2","height":9000000,"binary":"/opt/new/wemixd"}`) // plans may be made meanwhile
	r.want(200, "DELETE", "upgrades/far2", "")
	r.want(200, "POST", "config/reload", "")
	if st := r.status(); st.PID != pid || st.Upgrade != "still" {
		t.Errorf("want the trial untouched, pid %d, have %+v", pid, st)
	}
	r.want(200, "POST", "rollback", "") // the way out of it
	if st := r.status(); st.Upgrade != "genesis" || st.State != "running" || st.Change != nil {
		t.Errorf("want the old binary back, have %+v", st)
	}
	b.sealing()
	r.want(200, "POST", "upgrades/still/retry", "")
	trial()
	r.want(200, "POST", "upgrades/still/confirm", "")
	b.becomes("still", "done")
	r.want(409, "POST", "upgrades/still/confirm", "")
	r.want(200, "POST", "rollback", "")
	if st := r.status(); st.Upgrade != "genesis" || st.State != "running" {
		t.Errorf("want the old binary back, have %+v", st)
	}
	b.sealing()
	r.want(409, "POST", "rollback", "")

	r.want(200, "DELETE", "backups/"+a.ID, "")
	r.want(404, "DELETE", "backups/"+a.ID, "")
	if all := b.backups(); slices.ContainsFunc(all, func(one archive) bool { return one.ID == a.ID }) {
		t.Errorf("want it gone, have %+v", all)
	}
	if _, err := b.file("/data/backups/" + a.ID + "/info.json"); err == nil {
		t.Errorf("want the backup off the disk")
	}
	if strings.Contains(b.logs(), token) {
		t.Error("have the token in the log")
	}
}

// everyRoute goes through the API's own document: what is not there is 404, and
// of what is there nothing is left unbuilt.
func (r remote) everyRoute(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if have := r.ask("GET", "openapi.json", "", &doc); have != 200 || len(doc.Paths) < 20 {
		t.Fatalf("want the document, have %d with %d paths", have, len(doc.Paths))
	}
	for path, methods := range doc.Paths {
		route := strings.TrimPrefix(path, "/api/v1/")
		unknown := regexp.MustCompile(`{\w+}`).ReplaceAllString(route, "20000101T000000Z-000000-full")
		r.want(405, "PUT", unknown, "")
		for method := range methods {
			method = strings.ToUpper(method)
			switch {
			case strings.HasPrefix(route, "governance/proposals"): // nobody follows votes here
				r.want(501, method, unknown, "")
			case route == "validators": // this chain has none
				r.want(501, method, unknown, "")
			case route != unknown:
				r.want(404, method, unknown, "")
			case route == "ws": // no upgrade was asked for
				r.want(400, method, unknown, "")
			case method == "GET":
				r.want(200, method, unknown, "")
			}
		}
	}
	var raw map[string]json.RawMessage
	r.ask("GET", "status", "", &raw)
	for _, field := range []string{
		"state", "state_string", "pid", "uptime", "restart_count", "network", "binary", "version", "upgrade",
		"node", "reason", "change", "pending", "backup", "health", "alerts",
	} {
		if raw[field] == nil {
			t.Errorf("status lacks %s", field)
		}
	}
	for field, want := range map[string][]string{
		"node": {"client", "head_age", "height", "peers", "syncing"}, "backup": {"last", "last_verified", "running"},
		"health": {"checks", "healthy", "timestamp"},
	} {
		var in map[string]json.RawMessage
		_ = json.Unmarshal(raw[field], &in)
		for _, name := range want {
			if in[name] == nil {
				t.Errorf("status.%s lacks %s, has %s", field, name, raw[field])
			}
		}
	}
}
