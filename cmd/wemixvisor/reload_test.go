package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/cmd/internal/api"
)

// steady is a node that stops when told.
const steady = "trap 'exit 0' TERM; echo node up; while :; do sleep 0.05; done"

const secret = "0123456789abcdef0123456789abcdef"

// configure writes the configuration file.
func (h *house) configure(lines ...string) {
	h.t.Helper()
	dir := filepath.Join(h.home, "wemixvisor")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// withAPI opens the API over TCP and returns its URL.
func (h *house) withAPI() string {
	h.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	token := filepath.Join(h.home, "token")
	if err := os.WriteFile(token, []byte(secret), 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.env = append(h.env, "DAEMON_API_ADDRESS="+address, "DAEMON_API_TOKEN_FILE="+token)
	return "http://" + address
}

func (h *house) client() *api.Client {
	return api.NewClient(filepath.Join(h.home, "wemixvisor", "wemixvisor.sock"))
}

// running waits for a node that runs, other than the process last.
func (h *house) running(last int) int {
	h.t.Helper()
	pid := 0
	h.until("the node running", func() bool {
		st, err := h.status()
		pid = st.PID
		return err == nil && st.State == "running" && pid != last
	})
	return pid
}

// reload writes the file and has it read.
func (h *house) reload(lines ...string) api.Reloaded {
	h.t.Helper()
	h.configure(lines...)
	var done api.Reloaded
	if err := h.client().Post(context.Background(), "config/reload", struct{}{}, &done); err != nil {
		h.t.Fatal(err)
	}
	return done
}

func (h *house) logged(text string) bool {
	b, _ := os.ReadFile(h.log)
	return strings.Contains(string(b), text)
}

func (h *house) probe(path string) int {
	resp, err := http.Get("http://" + h.probes + path)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// proven are the settings whose effect after a reload a test below shows.
var proven = map[string]bool{}

func prove(names ...string) {
	for _, name := range names {
		proven[name] = true
	}
}

func TestEveryReloadableSettingTakesEffect(t *testing.T) {
	t.Run("each", everyReloadable)
	// The same rules carry these; they take half an hour to show.
	prove("alert-full-within", "alert-remember")
	prove("alert-upgrade-blocks") // see TestAlarmsOfUpgrades
	if have := slices.Sorted(maps.Keys(proven)); !slices.Equal(reloadable, have) {
		t.Errorf("want the effect of each shown:\n%v\nhave\n%v", reloadable, have)
	}
}

func everyReloadable(t *testing.T) {
	t.Run("backups", reloadBackups)
	t.Run("log, label, origins", func(t *testing.T) {
		prove("log-level", "log-format", "network", "api-origins")
		t.Parallel()
		h := newHouse(t, steady)
		url := h.withAPI()
		h.configure("network = \"one\"")
		h.run()
		h.running(0)
		done := h.reload("network = \"two\"", "log-level = \"debug\"", "log-format = \"json\"", "api-origins = \"https://a.example\"", "name = \"other\"")
		if want := []string{"api-origins", "log-format", "log-level", "network"}; !slices.Equal(want, done.Changed) {
			t.Errorf("want %v changed, have %v", want, done.Changed)
		}
		// DAEMON_NAME wins over the file.
		if len(done.Restart) != 0 {
			t.Errorf("want nothing to need a restart, have %v", done.Restart)
		}
		if st, _ := h.status(); st.Network != "two" {
			t.Errorf("want the new label, have %q", st.Network)
		}
		h.until("a request logged as JSON", func() bool { return h.logged(`"msg":"request"`) })
		req, _ := http.NewRequest("GET", url+"/api/v1/status", nil)
		req.Header.Set("Authorization", "Bearer "+secret)
		req.Header.Set("Origin", "https://a.example")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.Header.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("want the origin allowed, have %d %v", resp.StatusCode, resp.Header)
		}
		if h.logged(secret) {
			t.Error("have the token in the log")
		}
	})
	t.Run("readiness and liveness", func(t *testing.T) {
		prove("ready-max-head-age", "ready-max-lag", "ready-min-peers", "live-max-rpc-silence")
		t.Parallel()
		rpc := newChainRPC(t)
		rpc.age.Store(100)
		h := newHouse(t, steady, "DAEMON_RPC_ADDRESS="+rpc.url, "DAEMON_HEALTH_CHECK_INTERVAL=1s")
		h.configure(`ready-max-head-age = "1h"`, "ready-min-peers = 3")
		h.run()
		h.running(0)
		h.until("an answer", func() bool { st, _ := h.status(); return st.Node.Height > 0 && st.Node.Peers > 0 })
		if have := h.probe("/readyz"); have != 503 {
			t.Errorf("want two peers of three too few, have %d", have)
		}
		ready := func(status int, lines ...string) {
			t.Helper()
			h.reload(lines...)
			h.until(fmt.Sprint(lines, " to mean ", status), func() bool { return h.probe("/readyz") == status })
		}
		ready(200, `ready-max-head-age = "1h"`, "ready-min-peers = 2")
		ready(503, `ready-max-head-age = "1m"`)
		ready(200, `ready-max-head-age = "110s"`) // within the old margin, and well within the new limit
		ready(200, `ready-max-head-age = "0s"`)
		rpc.lag.Store(50)
		h.until("not ready for the lag", func() bool { return h.probe("/readyz") == 503 })
		ready(200, `ready-max-head-age = "0s"`, "ready-max-lag = 60")
		rpc.silent.Store(true)
		h.until("silence noticed", func() bool { return h.probe("/readyz") == 503 })
		if have := h.probe("/livez"); have != 200 {
			t.Errorf("want live yet, have %d", have)
		}
		h.reload(`live-max-rpc-silence = "1s"`)
		h.until("not live", func() bool { return h.probe("/livez") == 503 })
	})
	t.Run("grace", func(t *testing.T) {
		prove("shutdown-grace")
		t.Parallel()
		h := newHouse(t, "trap '' TERM; echo node up; while :; do sleep 0.05; done")
		h.configure(`shutdown-grace = "1h"`)
		h.run()
		h.running(0)
		h.reload(`shutdown-grace = "100ms"`)
		if code, out := h.command("stop"); code != 0 {
			t.Fatalf("want it stopped, have %d %s", code, out)
		}
	})
	t.Run("restarts", func(t *testing.T) {
		prove("restart-on-failure", "on-exit-zero", "max-restarts", "restart-window")
		t.Parallel()
		h := newHouse(t, "trap 'exit 0' TERM USR1; echo node up; while :; do sleep 0.05; done")
		h.configure("restart-on-failure = false", "max-restarts = 0")
		_, wait := h.run()
		ups := 0
		up := func(last int) int { // a node that has set its traps
			ups++
			h.until("the node up again", func() bool {
				b, _ := os.ReadFile(h.log)
				return strings.Count(string(b), "node up\n") >= ups
			})
			return h.running(last)
		}
		pid := up(0)
		h.reload("restart-on-failure = true", "max-restarts = 1")
		killed := time.Now()
		_ = syscall.Kill(pid, syscall.SIGKILL)
		pid = up(pid) // with the old settings it would have ended
		h.reload("max-restarts = 1", `restart-window = "1s"`, `on-exit-zero = "restart"`)
		h.until("the window over", func() bool { return time.Since(killed) > 1500*time.Millisecond })
		_ = syscall.Kill(pid, syscall.SIGUSR1)
		up(pid) // the last restart is out of the window, and 0 no end
		h.reload("max-restarts = 5")
		_ = syscall.Kill(h.running(pid), syscall.SIGUSR1)
		if code, out := wait(); code != 0 {
			t.Fatalf("want the exit 0 to be the end again, have %d %s", code, out)
		}
	})
	t.Run("roll-out", func(t *testing.T) {
		prove("alert-rollout")
		t.Parallel()
		h := newHouse(t, steady, "DAEMON_RPC_ADDRESS="+newSigner(t, 1).url)
		h.run()
		h.running(0)
		h.until("the consensus", func() bool { st, _ := h.status(); return st.Consensus != nil && st.Consensus.Active == 2 })
		if st, _ := h.status(); len(st.Alerts) > 0 {
			t.Fatalf("want the fork far ahead, have %v", st.Alerts)
		}
		h.reload("alert-rollout = 100000")
		h.until("the alert", func() bool {
			st, _ := h.status()
			return len(st.Alerts) == 1 && st.Alerts[0].Name == "rollout_behind" &&
				strings.Contains(st.Alerts[0].Summary, "only 1 validators propose with v1.16.9") && strings.Contains(st.Alerts[0].Summary, "prague comes at block 5000")
		})
	})
	t.Run("alerts", func(t *testing.T) {
		prove("alert-for", "alert-head-age", "alert-max-lag", "alert-min-peers", "alert-min-free")
		t.Parallel()
		rpc := newChainRPC(t)
		rpc.age.Store(100)
		rpc.lag.Store(50)
		rpc.halt.Store(1000)
		h := newHouse(t, steady, "DAEMON_RPC_ADDRESS="+rpc.url, "DAEMON_HEALTH_CHECK_INTERVAL=1s")
		h.configure(`alert-for = "1h"`, `alert-head-age = "0s"`, "alert-max-lag = 0", "alert-min-peers = 0", `alert-min-free = "0%"`)
		h.run()
		h.running(0)
		h.until("a head", func() bool { st, _ := h.status(); return st.Node.Height > 0 })
		h.reload(`alert-for = "0s"`, `alert-head-age = "1s"`, "alert-max-lag = 1", "alert-min-peers = 9", `alert-min-free = "100%"`)
		want := []string{"disk_low", "few_peers", "lagging", "no_new_head"}
		h.until("the alerts "+strings.Join(want, " "), func() bool {
			st, err := h.status()
			firing := map[string]bool{}
			for _, a := range st.Alerts {
				firing[a.Name] = true
			}
			return err == nil && !slices.ContainsFunc(want, func(name string) bool { return !firing[name] })
		})
	})
}

func TestBadFileLeavesTheOldSettings(t *testing.T) {
	t.Parallel()
	h := newHouse(t, steady)
	h.configure(`network = "one"`, `shutdown-grace = "20s"`)
	h.run()
	pid := h.running(0)
	h.configure(`network = "two"`, `shutdown-grace = "soon"`, "nonsense = 1")
	code, out := h.command("config", "reload")
	// The command reads the same file, and says it first.
	if code != exitUsage || !strings.Contains(out, "soon") || !strings.Contains(out, "nonsense") {
		t.Errorf("want both mistakes and exit 2, have %d %s", code, out)
	}
	err := h.client().Post(t.Context(), "config/reload", struct{}{}, new(api.Reloaded))
	if err == nil || !strings.Contains(err.Error(), "the old settings stay") || !strings.Contains(err.Error(), "config.toml:2") {
		t.Errorf("want the old settings to stay, have %v", err)
	}
	_ = h.signal(syscall.SIGHUP)
	h.until("the log to tell", func() bool { return h.logged("settings not reloaded; the old ones stay") })
	if st, err := h.status(); err != nil || st.Network != "one" || st.PID != pid {
		t.Errorf("want the old settings and the node untouched, have %q %d %v", st.Network, st.PID, err)
	}
}

func TestReloadNamesWhatNeedsARestart(t *testing.T) {
	t.Parallel()
	h := newHouse(t, steady)
	h.configure(`network = "one"`)
	h.run()
	h.running(0)
	for range 2 { // as long as it differs
		done := h.reload(`network = "one"`, `lock-timeout = "3s"`)
		if !slices.Equal(done.Restart, []string{"lock-timeout"}) || len(done.Changed) != 0 {
			t.Fatalf("want lock-timeout named, have %+v", done)
		}
	}
	var all []api.Setting
	if err := h.client().Get(t.Context(), "config", &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Key == "lock-timeout" && (s.Value != "10s" || s.Origin != "default" || s.Reloadable) {
			t.Errorf("want what is in effect, have %+v", s)
		}
		if s.Key == "network" && (!strings.HasSuffix(s.Origin, "config.toml:1") || !s.Reloadable) {
			t.Errorf("want the line it came from, have %+v", s)
		}
		if s.Key == "name" && s.Origin != "DAEMON_NAME" {
			t.Errorf("want the variable's name, have %+v", s)
		}
	}
	h.configure(`network = "two"`)
	if code, out := h.command("config", "reload"); code != 0 || !strings.Contains(out, "changed: network") {
		t.Errorf("want the change named, have %d %s", code, out)
	}
}

func TestStormsOfHUPAreHarmless(t *testing.T) {
	t.Parallel()
	h := newHouse(t, steady)
	h.configure(`network = "one"`)
	terminate, wait := h.run()
	pid := h.running(0)
	for i := range 2000 {
		if i == 1000 {
			h.configure(`network = "two"`)
		}
		if err := h.signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	h.until("the last change", func() bool { st, _ := h.status(); return st.Network == "two" })
	if st, _ := h.status(); st.PID != pid {
		t.Fatalf("want the node untouched, pid %d, have %d", pid, st.PID)
	}
	terminate()
	if code, out := wait(); code != 0 {
		t.Fatalf("want a clean end, have %d %s", code, out)
	}
}

func TestNoTokenNoAPI(t *testing.T) {
	t.Parallel()
	h := newHouse(t, steady, "DAEMON_API_ADDRESS=127.0.0.1:0")
	if code, out := h.command("run"); code != exitUsage || !strings.Contains(out, "api-token-file") {
		t.Errorf("no token file: want 2 and the setting named, have %d %s", code, out)
	}
	token := filepath.Join(h.home, "token")
	h.env = append(h.env, "DAEMON_API_TOKEN_FILE="+token)
	if code, out := h.command("run"); code != exitUsage || !strings.Contains(out, token) {
		t.Errorf("missing token file: want 2 and its name, have %d %s", code, out)
	}
	if err := os.WriteFile(token, []byte(secret), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out := h.command("run"); code != exitUsage || !strings.Contains(out, "chmod 600") {
		t.Errorf("token file of mode 0644: want 2 and the cure, have %d %s", code, out)
	}
	if entries, err := os.ReadDir(filepath.Join(h.home, "wemixvisor")); err == nil {
		t.Errorf("want nothing written, have %v", entries)
	}
}

// TestMutatingRoutesDoWhatTheySay drives the real program over TCP.
func TestMutatingRoutesDoWhatTheySay(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "trap 'echo told; sleep 1; exit 0' TERM; echo node up; while :; do sleep 0.05; done")
	url := h.withAPI()
	h.run()
	pid := h.running(0)
	do := func(route, body string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/api/v1/"+route, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	want := func(status int, route, body string) {
		t.Helper()
		if have := do(route, body); status != have {
			t.Errorf("%s: want %d, have %d", route, status, have)
		}
	}
	alive := func(pid int) bool { return syscall.Kill(pid, 0) == nil }

	want(409, "node/start", "") // it runs
	busy := make(chan int, 1)
	go func() { busy <- do("node/stop", "") }()
	h.until("the node told to stop", func() bool { st, _ := h.status(); return st.State == "stopping" })
	for _, route := range []string{"node/start", "node/stop", "node/restart"} {
		want(409, route, "")
	}
	if have := <-busy; have != 200 || alive(pid) {
		t.Errorf("stop: want 200 and the node gone, have %d %t", have, alive(pid))
	}
	want(200, "node/stop", "") // it is stopped, and stays so
	if st, _ := h.status(); st.State != "stopped" {
		t.Errorf("want it stopped, have %s", st.State)
	}
	want(200, "node/start", `{"args":["--mine"]}`)
	started := h.running(0)
	if st, _ := h.status(); !slices.Equal(st.Args, []string{"--mine"}) || !alive(started) {
		t.Errorf("start: want the arguments taken, have %v", st.Args)
	}
	want(200, "node/restart", "")
	again := h.running(started)
	if st, _ := h.status(); !slices.Equal(st.Args, []string{"--mine"}) || alive(started) || !alive(again) {
		t.Errorf("restart: want another process with the same arguments, have %v", st.Args)
	}
	want(400, "node/restart", `{"args":"--mine"}`)
	want(200, "config/reload", "")
	want(200, "config/reload", "")
	want(400, "config/reload", `{"x":1}`)
	if st, _ := h.status(); st.PID != again {
		t.Errorf("want the node untouched, pid %d, have %d", again, st.PID)
	}
}

func TestProfilesLogsAndNoPprofOnTheProbes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "trap 'exit 0' TERM; seq 1 30000; echo node up; while :; do sleep 0.05; done")
	h.configure(fmt.Sprintf("log-file = %q", filepath.Join(h.home, "node.log")))
	terminate, wait := h.run()
	h.running(0)
	h.until("the output", func() bool { return h.logged("node up\n") })
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/vars"} {
		if have := h.probe(path); have != 404 {
			t.Errorf("%s: want 404 on the probe listener, have %d", path, have)
		}
	}
	file := filepath.Join(h.home, "heap.pprof")
	if code, out := h.command("profile", "heap", "-o", file); code != 0 || !strings.Contains(out, file) {
		t.Errorf("profile: want it written, have %d %s", code, out)
	}
	if b, err := os.ReadFile(file); err != nil || len(b) < 100 {
		t.Errorf("profile: have %d bytes %v", len(b), err)
	}
	if code, _ := h.command("profile", "block"); code != exitUsage {
		t.Errorf("profile block: want 2, have %d", code)
	}
	first := func(text string) string { line, _, _ := strings.Cut(text, "\n"); return line }
	// 64 KiB hold about 11,000 of these lines.
	if code, out := h.command("logs", "-n", "20001"); code != 0 || first(out) != "10001" || !strings.HasSuffix(out, "30000\nnode up\n") {
		t.Errorf("logs: want the last 20001 lines, have %d %.20q", code, out)
	}
	if code, out := h.command("logs", "-n", "2"); code != 0 || out != "30000\nnode up\n" {
		t.Errorf("logs: want the last two lines, have %d %.40q", code, out)
	}
	if _, out := h.command("logs"); len(out) > 64<<10 {
		t.Errorf("logs: want what memory holds, have %d bytes", len(out))
	}
	if code, _ := h.command("logs", "-n", "-3"); code != exitUsage {
		t.Errorf("logs -n -3: want 2, have %d", code)
	}
	terminate()
	if code, out := wait(); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	if code, out := h.command("logs", "-n", "2"); code != 0 || !strings.Contains(out, "node up\n") {
		t.Errorf("logs without a supervisor: want the file's end, have %d %q", code, out)
	}
}

func TestStopIsSaidOverTheAPIToTheEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "trap 'sleep 1; exit 0' TERM; echo node up; while :; do sleep 0.05; done")
	url := h.withAPI()
	terminate, wait := h.run()
	h.running(0)
	h.until("its trap", func() bool { return h.logged("node up") })
	terminate()
	h.until("the stop told", func() bool {
		req, _ := http.NewRequest("GET", url+"/api/v1/status", nil)
		req.Header.Set("Authorization", "Bearer "+secret)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("want an answer while the node takes its grace, have %v", err)
		}
		defer resp.Body.Close()
		st, _ := h.status()
		return resp.StatusCode == 200 && st.State == "stopping"
	})
	began := time.Now()
	if code, out := wait(); code != 0 || time.Since(began) > 10*time.Second {
		t.Fatalf("want a quick end, have %d after %s %s", code, time.Since(began), out)
	}
}

func TestLogsAreFollowedToTheEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t, `trap 'echo last words; exit 0' TERM; echo node up; while [ ! -e "$DAEMON_HOME/go" ]; do sleep 0.05; done; echo later; while :; do sleep 0.05; done`)
	terminate, wait := h.run()
	h.running(0)
	h.until("the output", func() bool { return h.logged("node up\n") })
	cmd := exec.CommandContext(t.Context(), os.Args[0], "logs", "-f", "-n", "1")
	cmd.Env = h.env
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	want := func(text string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != text {
			t.Fatalf("want %q, have %q", text, lines.Text())
		}
	}
	want("node up")
	if err := os.WriteFile(filepath.Join(h.home, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want("later")
	terminate()
	rest := ""
	for lines.Scan() { // the shell tells of its sleep, too
		rest += lines.Text() + "\n"
	}
	if !strings.Contains(rest, "last words\n") {
		t.Errorf("want the last words, have %q", rest)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("want it to end well with the supervisor, have %v", err)
	}
	if code, out := wait(); code != 0 {
		t.Errorf("%d %s", code, out)
	}
}
