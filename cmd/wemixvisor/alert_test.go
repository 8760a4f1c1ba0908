package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// webhook collects "state name" of every alert that comes in, and is told to
// refuse so many before.
type webhook struct {
	mu     sync.Mutex
	told   []string
	refuse int
}

func newWebhook(t *testing.T) (w *webhook, url string) {
	t.Helper()
	w = &webhook{}
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var a struct{ Alert, State string }
		_ = json.NewDecoder(r.Body).Decode(&a)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.refuse > 0 {
			w.refuse--
			rw.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.told = append(w.told, a.State+" "+a.Alert)
	}))
	t.Cleanup(srv.Close)
	return w, "generic://" + strings.TrimPrefix(srv.URL, "http://") + "/t0ken-s3cret?disabletls=yes&template=json"
}

func (w *webhook) count(what string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.told {
		if s == what {
			n++
		}
	}
	return n
}

func TestCrashLoopIsToldBeforeTheEnd(t *testing.T) {
	t.Parallel()
	hook, url := newWebhook(t)
	h := newHouse(t, "echo my last words; exit 3", "DAEMON_MAX_RESTARTS=1", "DAEMON_ALERT_URLS="+url)
	_, wait := h.run()
	code, out := wait()
	if code != 3 {
		t.Errorf("want the node's code 3, have %d", code)
	}
	if hook.count("firing restart_budget") != 1 || hook.count("firing crash_loop") != 1 {
		t.Errorf("want both alerts told once, have %v\n%s", hook.told, out)
	}
	if strings.Contains(out, "s3cret") {
		t.Errorf("want no secret in the log, have\n%s", out)
	}
}

func TestKillAtTheEndIsTold(t *testing.T) {
	t.Parallel()
	hook, url := newWebhook(t)
	hook.refuse = 1
	h := newHouse(t, "trap '' TERM; echo up; while :; do sleep 0.05; done", "DAEMON_SHUTDOWN_GRACE=500ms", "DAEMON_ALERT_URLS="+url)
	terminate, wait := h.run()
	h.until("the node running", func() bool { st, err := h.status(); return err == nil && st.State == "running" })
	h.until("its trap set", func() bool { _, out := h.command("logs"); return strings.Contains(out, "up") })
	terminate()
	if code, out := wait(); hook.count("firing node_killed") != 1 || !strings.Contains(out, "429 Too Many Requests") {
		t.Errorf("want the KILL told once, after a 429, have %d %v\n%s", code, hook.told, out)
	}
}

// TestDiskNearlyFull fills a file system of its own and empties it again.
func TestDiskNearlyFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	hook, url := newWebhook(t)
	h := newHouse(t, "exec sleep 1000", "DAEMON_DATA_DIR="+dir, "DAEMON_ALERT_URLS="+url, "DAEMON_ALERT_FULL_WITHIN=0s")
	terminate, wait := h.run()
	red := func() (string, bool) {
		st, err := h.status()
		c := st.Health.Checks["disk"]
		return c.Error, err == nil && !c.Healthy
	}
	h.until("the node running", func() bool { st, err := h.status(); return err == nil && st.State == "running" })
	if why, ok := red(); ok {
		t.Fatalf("want the disk fine at first, have %s", why)
	}
	file := filepath.Join(dir, "large")
	if err := os.WriteFile(file, make([]byte, 15<<20+800<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	h.until("the check red", func() bool { why, ok := red(); return ok && strings.HasPrefix(why, dir+": ") })
	h.until("the alert told", func() bool { return hook.count("firing disk_low") == 1 })
	st, _ := h.status()
	if len(st.Alerts) != 1 || st.Alerts[0].Name != "disk_low" || !st.Alerts[0].Firing() || !strings.Contains(st.Alerts[0].Summary, dir) {
		t.Errorf("want it in the status, have %+v", st.Alerts)
	}
	if _, out := h.command("status"); !strings.Contains(out, "disk_low (critical)") {
		t.Errorf("want it for people too, have\n%s", out)
	}
	os.Remove(file)
	h.until("it resolved", func() bool { return hook.count("resolved disk_low") == 1 })
	if why, ok := red(); ok {
		t.Errorf("want the check green, have %s", why)
	}
	terminate()
	wait()
	if hook.count("firing disk_low") != 1 || hook.count("resolved disk_low") != 1 {
		t.Errorf("want it told once and resolved once, have %v", hook.told)
	}
}

func TestDeadWebhookHasNoEffectOnTheNode(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "exit 7", "DAEMON_MAX_RESTARTS=1", "DAEMON_ALERT_URLS=generic://127.0.0.1:1/t0ken-s3cret?disabletls=yes")
	_, wait := h.run()
	code, out := wait()
	if code != 7 || !strings.Contains(out, "connection refused") || strings.Contains(out, "s3cret") {
		t.Errorf("want the node's code, the failure and no secret, have %d\n%s", code, out)
	}
}

func TestAlertTestCommand(t *testing.T) {
	t.Parallel()
	hook, url := newWebhook(t)
	const dead = "generic://127.0.0.1:1/t0ken-s3cret?disabletls=yes"
	list := filepath.Join(t.TempDir(), "urls")
	if err := os.WriteFile(list, []byte("# where people look\n\n"+url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, "exec sleep 1000", "DAEMON_ALERT_URLS="+list)
	try := func(supervised string) {
		for _, tc := range []struct {
			args []string
			code int
			out  string
		}{
			{[]string{"alert", "test"}, 0, "generic://127.0.0.1:"},
			{[]string{"alert", "test", url}, 0, ": sent\n"},
			{[]string{"alert", "test", dead}, 1, "connection refused"},
			{[]string{"alert", "test", "t0ken-s3cret"}, 2, "not a URL"},
			{[]string{"alert", "test", url, "x"}, 2, "alert test [URL]"},
			{[]string{"alert"}, 2, "alert test [URL]"},
		} {
			code, out := h.command(tc.args...)
			if code != tc.code || !strings.Contains(out, tc.out) || strings.Contains(out, "s3cret") || strings.Count(out, "\n") != 1 {
				t.Errorf("%s: %v: want %d and one line with %q and no secret, have %d %s", supervised, tc.args[:min(len(tc.args), 2)], tc.code, tc.out, code, out)
			}
		}
	}
	try("no supervisor")
	terminate, wait := h.run()
	h.until("the node running", func() bool { st, err := h.status(); return err == nil && st.State == "running" })
	try("supervised")
	if have := hook.count("test test"); have != 4 {
		t.Errorf("want four tests to arrive, have %d", have)
	}
	terminate()
	wait()

	h.env = append(h.env, "DAEMON_ALERT_URLS=")
	if code, out := h.command("alert", "test"); code != 1 || !strings.Contains(out, "alert-urls") {
		t.Errorf("want a hint at the setting, have %d %s", code, out)
	}
}

func TestAlertURLs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const a, b = "generic://a.example/x?y=1,2&z=3", "ntfy://b.example/topic"
	for _, tc := range []struct {
		name, text string
		want       []string
		err        string
	}{
		{"none", "", nil, ""},
		{"one", a, []string{a}, ""},
		{"parted by a comma", a + "," + b, []string{a, b}, ""},
		{"parted by white space", " " + a + " \n\t" + b + " ", []string{a, b}, ""},
		{"parted by both", a + ", " + b + ",", []string{a, b}, ""},
		{"one without a host", "pagerduty:///eb243592faa24ba2a5510afdf565c889," + a, []string{"pagerduty:///eb243592faa24ba2a5510afdf565c889", a}, ""},
		{"a file", file("urls", "# comment\n\n"+a+"\r\n  "+b+"\n"), []string{a, b}, ""},
		{"an empty file", file("empty", ""), nil, ""},
		{"a file with a mistake", file("bad", a+"\npigeon://s3cret\n"), nil, `URL 2: unknown service "pigeon": `},
		{"a file that is not there", filepath.Join(dir, "s3cret"), nil, "neither a URL nor a file that can be read: no such file or directory"},
		{"a folder", dir, nil, "neither a URL nor a file that can be read: no regular file of at most 64 KiB"},
		{"a file without end", "/dev/zero", nil, "neither a URL nor a file that can be read: no regular file of at most 64 KiB"},
		{"a mistake", "pigeon://s3cret", nil, `URL 1: unknown service "pigeon": `},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			have, err := parseURLs(tc.text)
			if fmt.Sprint(have) != fmt.Sprint(tc.want) || err != nil && !strings.HasPrefix(err.Error(), tc.err) || err == nil && tc.err != "" {
				t.Errorf("want %v %q, have %v %v", tc.want, tc.err, have, err)
			}
		})
	}
}
