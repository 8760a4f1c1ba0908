package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"go.uber.org/goleak"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/reaper"
)

// One reaper for the process: there is one waiter.
var rp = reaper.New()

func TestMain(m *testing.M) {
	usual.header = time.Second
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = rp.Run(ctx) }()
	code := m.Run()
	cancel()
	<-done
	if code == 0 {
		if err := goleak.Find(goleak.IgnoreTopFunction("os/signal.loop"), goleak.IgnoreTopFunction("os/signal.signal_recv"),
			goleak.IgnoreAnyFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun")); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

// serve runs a supervisor of a shell script with its control socket at path.
func serve(t *testing.T, path, script string) (*Client, *supervisor.Supervisor) {
	t.Helper()
	sup := supervisor.New(supervisor.Config{
		Reaper: rp, Logger: log.NewNopLogger(),
		Program: func() (string, error) { return "/bin/sh", nil },
		Args:    []string{"-c", script},
		Env:     os.Environ(),
		Grace:   5 * time.Second, RestartWindow: time.Minute, RestartOnFailure: true, MaxRestarts: 1,
	})
	ln, _, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	hub := NewHub(sup.Tail(), log.NewNopLogger())
	srv := NewServer(Config{
		Supervisor: sup,
		Hub:        hub,
		Status:     func() Status { return StatusOf(Sources{Supervisor: sup.Status()}, time.Now()) },
		Health:     func() probe.Health { return probe.Health{} },
		Alerts:     func() []alert.Alert { return []alert.Alert{{Name: "disk_low", State: "firing"}} },
		Metrics:    func() any { return []string{"a metric"} },
		TestAlert: func(ctx context.Context, url string) ([]alert.Trial, error) {
			if url == "" {
				return nil, ErrNoChannel
			}
			n, err := alert.NewNotifier(alert.NotifierConfig{URLs: []string{url}})
			if err != nil {
				return nil, err
			}
			return n.Test(ctx), nil
		},
	})
	done := make(chan struct{}, 3)
	go func() { _ = sup.Run(ctx); done <- struct{}{} }()
	go func() { _ = hub.Run(ctx, sup.Closed()); done <- struct{}{} }()
	go func() { _ = srv.Serve(ctx, ln, nil, sup.Closed()); done <- struct{}{} }()
	c := NewClient(path)
	t.Cleanup(func() { c.http.CloseIdleConnections(); cancel(); <-done; <-done; <-done })
	return c, sup
}

// eventually polls what tells of no change by itself.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// until waits for the tail to hold word, and for the start of who wrote it to be
// published: it may speak before that.
func until(t *testing.T, sup *supervisor.Supervisor, word string) {
	t.Helper()
	var seen []byte
	next, deadline := int64(0), time.After(10*time.Second)
	for {
		var text []byte
		var changed <-chan struct{}
		text, next, changed = sup.Tail().From(next)
		if seen = append(seen, text...); bytes.Contains(seen, []byte(word)) {
			eventually(t, "the start published", func() bool { return sup.Status().State != supervisor.Starting })
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("want %q in the output, have %q", word, seen)
		}
	}
}

func TestNodeIsDrivenThroughTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	c, sup := serve(t, path, "echo first; exec sleep 60")
	until(t, sup, "first")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("want a socket of mode 0600, have %v %v", info.Mode(), err)
	}
	var st Status
	if err := c.Get(t.Context(), "status", &st); err != nil || st.State != "running" || st.PID == 0 {
		t.Fatalf("want a running node, have %+v %v", st, err)
	}
	if _, err := c.Act(t.Context(), "node/start", Action{}); !errors.Is(err, supervisor.ErrRunning) {
		t.Fatalf("want ErrRunning, have %v", err)
	}
	if res, err := c.Act(t.Context(), "node/stop", Action{}); err != nil || res.State != "stopped" || res.PID != 0 {
		t.Fatalf("want it stopped, have %+v %v", res, err)
	}
	res, err := c.Act(t.Context(), "node/start", Action{Args: []string{"-c", "echo second; exec sleep 60"}})
	if err != nil || res.State != "running" {
		t.Fatalf("want it running, have %+v %v", res, err)
	}
	until(t, sup, "second")
	if res, err := c.Act(t.Context(), "node/restart", Action{}); err != nil || res.PID == 0 {
		t.Fatalf("want it restarted, have %+v %v", res, err)
	}
	var out bytes.Buffer
	if err := c.Logs(t.Context(), &out, 1, false); err != nil || out.String() != "second\n" {
		t.Fatalf("want the last line, have %q %v", out.String(), err)
	}
}

// What others make meanwhile, a node's first files above all, has the mode they
// asked for.
func TestListeningLeavesTheUmaskAlone(t *testing.T) {
	dir := t.TempDir()
	over := make(chan struct{})
	go func() {
		defer close(over)
		for range 1000 {
			ln, _, err := Listen(filepath.Join(dir, "s.sock"))
			if err != nil {
				t.Error(err)
				return
			}
			ln.Close()
		}
	}()
	for n := 0; ; n++ {
		select {
		case <-over:
			return
		default:
		}
		made := filepath.Join(dir, strconv.Itoa(n))
		if err := os.Mkdir(made, 0o700); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(made); err != nil || info.Mode().Perm() != 0o700 {
			t.Fatalf("want mode 0700, have %v %v", info.Mode(), err)
		}
	}
}

func TestBusySupervisorRefuses(t *testing.T) {
	c, sup := serve(t, filepath.Join(t.TempDir(), "s.sock"), "trap 'echo told' TERM; echo up; while :; do sleep 0.05; done")
	until(t, sup, "up")
	stopped := make(chan error, 1)
	go func() { _, err := c.Act(context.Background(), "node/stop", Action{}); stopped <- err }()
	until(t, sup, "told")
	if _, err := c.Act(t.Context(), "node/restart", Action{}); !errors.Is(err, supervisor.ErrBusy) {
		t.Fatalf("want ErrBusy, have %v", err)
	}
	var st Status
	if err := c.Get(t.Context(), "status", &st); err != nil || st.State != "stopping" {
		t.Fatalf("want status to answer meanwhile, have %+v %v", st, err)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

func TestLongSocketPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c, sup := serve(t, filepath.Join(dir, "s.sock"), "echo up; exec sleep 60")
	until(t, sup, "up")
	if err := c.Get(t.Context(), "status", new(Status)); err != nil {
		t.Fatal(err)
	}
}

func TestNobodyListens(t *testing.T) {
	c := NewClient(filepath.Join(t.TempDir(), "s.sock"))
	if err := c.Get(t.Context(), "status", new(Status)); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("want ErrNotRunning, have %v", err)
	}
}

func TestHostileRequests(t *testing.T) {
	c, sup := serve(t, filepath.Join(t.TempDir(), "s.sock"), "echo up; exec sleep 60")
	until(t, sup, "up")
	pid := sup.Status().Pid
	if pid == 0 {
		t.Fatal("want the node up")
	}
	for _, tc := range []struct {
		name, method, route, body string
		want                      int
	}{
		{"unknown route", "GET", "nope", "", http.StatusNotFound},
		{"wrong verb", "GET", "node/stop", "", http.StatusMethodNotAllowed},
		{"no JSON", "POST", "node/stop", "stop!", http.StatusBadRequest},
		{"unknown field", "POST", "node/stop", `{"hurry":true}`, http.StatusBadRequest},
		{"large body of nonsense", "POST", "node/stop", strings.Repeat("\x00", 2<<20), http.StatusRequestEntityTooLarge},
		{"large body", "POST", "node/stop", `{"args":["` + strings.Repeat("x", 2<<20) + `"]}`, http.StatusRequestEntityTooLarge},
		{"bad n", "GET", "logs?n=-1", "", http.StatusBadRequest},
		{"alert to nowhere", "POST", "alerts/test", "", http.StatusNotImplemented},
		{"alert to a mistake", "POST", "alerts/test", `{"url":"pigeon://s3cret"}`, http.StatusUnprocessableEntity},
		{"alert with an unknown field", "POST", "alerts/test", `{"urls":[]}`, http.StatusBadRequest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tc.method, "http://x/api/v1/"+tc.route, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			_, _ = io.Copy(io.Discard, resp.Body)
			if tc.want != resp.StatusCode {
				t.Fatalf("want %d, have %d", tc.want, resp.StatusCode)
			}
		})
	}
	if have := sup.Status().Pid; pid != have {
		t.Fatalf("want the node untouched, pid %d, have %d", pid, have)
	}
}
