package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"
)

// quick is a pace at which a test can see everything happen.
var quick = pace{
	first: 10 * time.Millisecond, last: 40 * time.Millisecond, patience: 300 * time.Millisecond,
	giveUp: 10 * time.Second, burst: 1000, window: time.Minute, farewell: 300 * time.Millisecond,
}

// said is a log that may be read while it is written.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// start runs a notifier of urls at the pace p. end ends it and returns how long
// that took.
func start(t *testing.T, p pace, urls ...string) (n *Notifier, logged *said, end func() time.Duration) {
	t.Helper()
	logged = &said{}
	n, err := NewNotifier(NotifierConfig{URLs: urls, Source: "node0", Logger: log.NewLogfmtLogger(logged)})
	if err != nil {
		t.Fatal(err)
	}
	n.pace = p
	ctx, cancel := context.WithCancel(t.Context())
	closed, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- n.Run(ctx, closed) }() // joined by end
	end = sync.OnceValue(func() time.Duration {
		began := time.Now()
		cancel()
		close(closed)
		<-done
		return time.Since(began)
	})
	t.Cleanup(func() { end(); http.DefaultClient.CloseIdleConnections() })
	return n, logged, end
}

// hook is a webhook and the URL that leads there, with secrets everywhere.
func hook(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	return "generic://" + secretly(strings.TrimPrefix(srv.URL, "http://"))
}

func secretly(host string) string {
	return "user-s3cret:passw0rd-s3cret@" + host + "/path-s3cret/x?disabletls=yes&template=json&@Authorization=bearer-s3cret&$extra=extra-s3cret"
}

func firing(name string) Alert {
	return Alert{Name: name, Severity: Critical, State: "firing", Since: time.Now().UTC(), Summary: "it burns"}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) { // a poll with a deadline
		if time.Now().After(deadline) {
			t.Fatalf("want %s", what)
		}
	}
}

func noSecret(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(strings.ToLower(text), "s3cret") {
		t.Errorf("want no secret shown, have %s", text)
	}
}

func TestWebhookGetsTheAlert(t *testing.T) {
	got := make(chan map[string]string, 1)
	url := hook(t, func(_ http.ResponseWriter, r *http.Request) {
		fields := map[string]string{"auth": r.Header.Get("Authorization")}
		_ = json.NewDecoder(r.Body).Decode(&fields)
		got <- fields
	})
	n, _, _ := start(t, quick, url)
	n.Offer(firing("node_down"))
	have := <-got
	for key, want := range map[string]string{
		"title": "[FIRING] node_down: node0", "alert": "node_down", "severity": "critical", "state": "firing",
		"summary": "it burns", "source": "node0", "extra": "extra-s3cret", "auth": "bearer-s3cret",
	} {
		if have[key] != want {
			t.Errorf("want %s %q, have %q", key, want, have[key])
		}
	}
	if !strings.HasPrefix(have["message"], "[FIRING] node_down: node0\nit burns\ncritical, since ") {
		t.Errorf("have the message %q", have["message"])
	}
	until(t, "it counted as sent", func() bool { return n.Counts() == Counts{Sent: 1} })
}

func TestWebhookWrittenShort(t *testing.T) {
	got := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got <- r.URL.String() + " " + string(text)
	}))
	t.Cleanup(srv.Close)
	n, _, _ := start(t, quick, "generic+"+srv.URL+"/path?key=value")
	n.Offer(firing("node_down"))
	if have := <-got; !strings.HasPrefix(have, "/path?key=value [FIRING] node_down: node0\nit burns\n") {
		t.Errorf("want the text, have %q", have)
	}
}

// TestChannelsThatFail has every way to fail twice and then succeed: the message
// arrives once, the failures are counted, and no secret is logged.
func TestChannelsThatFail(t *testing.T) {
	for _, tc := range []struct {
		name string
		fail func(http.ResponseWriter, *http.Request)
		log  string
	}{
		{"500", func(w http.ResponseWriter, r *http.Request) { http.Error(w, r.URL.String(), 500) }, "500 Internal Server Error"},
		{"429", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, "429 Too Many Requests"},
		{"closes at once", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(conn, "SSH-2.0-OpenSSH_9.2 passw0rd-s3cret\r\n")
			conn.Close()
		}, "malformed HTTP"},
		{"a redirect without end", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
		}, "redirects"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var calls, arrived atomic.Int32
			url := hook(t, func(w http.ResponseWriter, r *http.Request) {
				if arrived.Load() == 0 && calls.Add(1) <= 12 && (tc.name == "a redirect without end" || calls.Load() <= 2) {
					tc.fail(w, r)
					return
				}
				arrived.Add(1)
			})
			n, logged, _ := start(t, quick, url)
			n.Offer(firing("x"))
			until(t, "it sent at last", func() bool { return n.Counts().Sent == 1 })
			if c := n.Counts(); c.Failed < 1 || c.Dropped != 0 || arrived.Load() != 1 {
				t.Errorf("want failures counted and one arrival, have %+v, %d", c, arrived.Load())
			}
			if !strings.Contains(logged.String(), tc.log) || !strings.Contains(logged.String(), "generic://127.0.0.1:") {
				t.Errorf("want %q and the host logged, have %s", tc.log, logged)
			}
			noSecret(t, logged.String())
		})
	}
}

func TestDeadChannelHoldsUpItselfAlone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := ln.Addr().String()
	ln.Close()
	var arrived atomic.Int32
	fine := hook(t, func(http.ResponseWriter, *http.Request) { arrived.Add(1) })
	p := quick
	p.giveUp = 200 * time.Millisecond
	n, logged, _ := start(t, p, "generic://"+secretly(dead), fine)
	n.Offer(firing("x"))
	n.Offer(firing("y"))
	until(t, "the other channel served", func() bool { return arrived.Load() == 2 })
	until(t, "the dead one given up", func() bool { return n.Counts().Dropped == 2 })
	if c := n.Counts(); c.Sent != 2 || c.Failed < 4 {
		t.Errorf("want two sent and each tried again, have %+v", c)
	}
	if !strings.Contains(logged.String(), "connection refused") || strings.Count(logged.String(), "trying again") != 2 {
		t.Errorf("want one line for each message, have %s", logged)
	}
	noSecret(t, logged.String())
}

// TestHangingChannel has servers that accept and say nothing: the library waits
// for ever, and we do not.
func TestHangingChannel(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.Map
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Store(c, true)
		}
	}()
	free := func() {
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
	}
	t.Cleanup(func() { ln.Close(); free() })
	host := ln.Addr().String()
	mail := "smtp://user:passw0rd-s3cret@" + host + "/?from=a@example.org&to=b-s3cret@example.org,c@example.org"
	n, logged, end := start(t, quick, "generic://"+secretly(host), mail)
	n.Offer(firing("x"))
	n.Offer(firing("y"))
	until(t, "the library stuck, and not more often than it may", func() bool {
		return strings.Count(logged.String(), "no answer") == 2 && n.Counts().Failed >= 2*(stuckMax+2)
	})
	if c := n.Counts(); c.Sent != 0 {
		t.Errorf("want nothing sent, have %+v", c)
	}
	if took := end(); took > 5*time.Second {
		t.Errorf("want it to end in %s, took %s", quick.farewell, took)
	}
	if have := n.Counts().Dropped; have != 4 {
		t.Errorf("want all four dropped at the end, have %d", have)
	}
	noSecret(t, logged.String())
	free()
	ln.Close()
	until(t, "the library let go", func() bool { return len(n.channels[0].flying)+len(n.channels[1].flying) == 0 })
}

func TestFloodIsBounded(t *testing.T) {
	release := make(chan struct{})
	var arrived atomic.Int32
	url := hook(t, func(http.ResponseWriter, *http.Request) {
		<-release
		arrived.Add(1)
	})
	p := quick
	p.patience = time.Minute
	n, logged, _ := start(t, p, url)
	began := time.Now()
	for i := range 10_000 {
		n.Offer(firing(fmt.Sprint("flood", i)))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("want an offer never to block, took %s for all", took)
	}
	// Those in the queue, and at most one that is being sent.
	if dropped := n.Counts().Dropped; dropped < 10_000-queueMax-1 || dropped > 10_000-queueMax {
		t.Errorf("want all but %d dropped, have %d", queueMax, dropped)
	}
	close(release)
	until(t, "the rest sent", func() bool { return n.Counts().Sent+n.Counts().Dropped == 10_000 })
	noSecret(t, logged.String())
}

func TestChannelIsNotFlooded(t *testing.T) {
	var arrived atomic.Int32
	url := hook(t, func(http.ResponseWriter, *http.Request) { arrived.Add(1) })
	p := quick
	p.burst, p.window = 3, 500*time.Millisecond
	n, _, _ := start(t, p, url)
	began := time.Now()
	for range 7 {
		n.Offer(firing("x"))
	}
	until(t, "all seven sent", func() bool { return arrived.Load() == 7 })
	if took := time.Since(began); took < 2*p.window {
		t.Errorf("want three in each %s, took %s for seven", p.window, took)
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	var calls atomic.Int32
	var first, second time.Time
	url := hook(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			first = time.Now()
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(429)
			return
		}
		second = time.Now()
	})
	n, _, _ := start(t, quick, url)
	n.Offer(firing("x"))
	until(t, "it sent", func() bool { return n.Counts().Sent == 1 })
	if have := second.Sub(first); calls.Load() != 2 || have < 900*time.Millisecond {
		t.Errorf("want one more call, a second later, have %d, %s later", calls.Load()-1, have)
	}
}

// TestWhatWaitsIsSentAtTheEnd: the alert of a crash loop is offered in the
// supervisor's last moment.
func TestWhatWaitsIsSentAtTheEnd(t *testing.T) {
	var calls, arrived atomic.Int32
	url := hook(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			w.WriteHeader(500)
			return
		}
		arrived.Add(1)
	})
	p := quick
	p.first, p.farewell = time.Hour, 10*time.Second
	n, _, end := start(t, p, url)
	n.Offer(firing("x"))
	until(t, "the first try failed", func() bool { return n.Counts().Failed == 1 })
	n.Offer(firing("crash_loop"))
	if took := end(); arrived.Load() != 2 || took > 5*time.Second {
		t.Errorf("want both sent at once, have %d after %s", arrived.Load(), took)
	}
}

func TestNoChannelIsNoTrouble(t *testing.T) {
	n, _, end := start(t, quick)
	n.Offer(firing("x"))
	end()
	if have := n.Counts(); have != (Counts{}) {
		t.Errorf("want nothing counted, have %+v", have)
	}
}

func TestEndlessAnswerIsCut(t *testing.T) {
	url := hook(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 64<<10)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	p := quick
	p.patience = 10 * time.Second
	n, _, _ := start(t, p, url)
	n.Offer(firing("x"))
	until(t, "it taken for sent", func() bool { return n.Counts().Sent == 1 })
}

func TestTrialNamesWhatFailed(t *testing.T) {
	fine := hook(t, func(http.ResponseWriter, *http.Request) {})
	gone := hook(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	n, _, _ := start(t, quick, fine, gone)
	have := n.Test(t.Context())
	if len(have) != 2 || !have[0].OK || have[0].Error != "" || have[1].OK || !strings.Contains(have[1].Error, "410 Gone") {
		t.Errorf("want the second to fail and say why, have %+v", have)
	}
	noSecret(t, fmt.Sprint(have))
}
