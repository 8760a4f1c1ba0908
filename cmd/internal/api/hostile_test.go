package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// FuzzRequest throws requests at the routes that read bodies, paths and queries.
func FuzzRequest(f *testing.F) {
	f.Add("POST", "/api/v1/config/reload", "x=1", []byte(`{}`))
	f.Add("POST", "/api/v1/config/reload", "", []byte(`{"a":[[[[]]]]}`))
	f.Add("GET", "/api/v1/profile/..%2f..", "seconds=-1", []byte(nil))
	f.Add("GET", "/api/v1/ws", "topics=,", []byte("\xff"))
	f.Add("OPTIONS", "*", "token=1", []byte("{}{}"))
	s := NewServer(Config{
		Settings: func() []Setting { return nil }, Status: func() Status { return Status{} },
		Reload: func() (Reloaded, error) { return Reloaded{}, nil },
	})
	front := s.front(nil)
	f.Fuzz(func(t *testing.T, method, path, query string, body []byte) {
		u := &url.URL{Path: path, RawPath: path, RawQuery: query}
		if unescaped, err := url.PathUnescape(path); err == nil {
			u.Path = unescaped
		}
		if strings.Contains(path, "node/") || strings.Contains(path, "logs") || strings.Contains(path, "profile/") ||
			strings.Contains(path, "health") || strings.Contains(path, "alerts") || strings.Contains(path, "metrics") {
			t.Skip("needs a supervisor")
		}
		req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		req.Method, req.URL = method, u
		rec := httptest.NewRecorder()
		front.ServeHTTP(rec, req)
		if rec.Code >= 500 {
			t.Fatalf("%s %q?%q: have %d %s", method, path, query, rec.Code, rec.Body)
		}
		if rec.Code >= 400 {
			var no Refusal
			if err := json.Unmarshal(rec.Body.Bytes(), &no); err != nil || no.Error == "" || no.Code == "" {
				t.Fatalf("want error and code, have %s", rec.Body)
			}
		}
	})
}

func FuzzAction(f *testing.F) {
	f.Add([]byte(`{"args":["--http"]}`))
	f.Add([]byte(`{"args":null}{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var a Action
		rec := httptest.NewRecorder()
		err := decode(rec, httptest.NewRequest("POST", "/", bytes.NewReader(body)), &a)
		if err != nil {
			if status := faultOf(err).status; status != 400 && status != 413 {
				t.Fatalf("want 400 or 413, have %d %v", status, err)
			}
			return
		}
		if len(bytes.TrimSpace(body)) > 0 && !json.Valid(body) {
			t.Fatalf("want it refused: %q", body)
		}
	})
}

func TestMistakesOfOursAreAnswered(t *testing.T) {
	t.Parallel()
	s := NewServer(Config{Status: func() Status { panic("x") }})
	rec := httptest.NewRecorder()
	s.front(nil).ServeHTTP(rec, httptest.NewRequest("GET", "/api/v1/status", nil))
	if rec.Code != 500 || !strings.Contains(rec.Body.String(), `"code":"failed"`) {
		t.Fatalf("want 500, have %d %s", rec.Code, rec.Body)
	}
}

func TestProfiles(t *testing.T) {
	h := open(t, "exec sleep 60", nil)
	for path, magic := range map[string]string{"heap": "\x1f\x8b", "goroutine": "\x1f\x8b", "cpu?seconds=1": "\x1f\x8b", "trace?seconds=1": "go 1."} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", h.url+"/api/v1/profile/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		resp, err := h.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var head [5]byte
		_, _ = resp.Body.Read(head[:])
		resp.Body.Close()
		if resp.StatusCode != 200 || !strings.HasPrefix(string(head[:]), magic) {
			t.Errorf("%s: want a profile, have %d %q", path, resp.StatusCode, head)
		}
	}
	h.want(404, "GET", "/api/v1/profile/block", secret)
	h.want(400, "GET", "/api/v1/profile/cpu?seconds=0", secret)
	h.want(400, "GET", "/api/v1/profile/cpu?seconds=301", secret)
	h.want(404, "GET", "/debug/pprof/", secret)
}

// TestHostileCrowdIsNotNoticed has all at once: tokens that are none, headers
// that drip and headers that flood, bodies without an end, strangers who say
// nothing, foreign origins. The loop that keeps the node must not notice, who
// holds the token must get through, and nothing may be left.
func TestHostileCrowdIsNotNoticed(t *testing.T) {
	h := open(t, "exec sleep 60", nil)
	pid := h.running()
	h.want(200, "GET", "/api/v1/status", secret)
	h.http.CloseIdleConnections()
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	alone := h.latency(t, 200)

	stop := make(chan struct{})
	var crowd sync.WaitGroup
	address := strings.TrimPrefix(h.url, "http://")
	attack := func(how func(net.Conn)) {
		crowd.Go(func() {
			for {
				conn, err := net.Dial("tcp", address)
				if err == nil {
					_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
					how(conn)
					conn.Close()
				}
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond): // a core must be left for who is measured
				}
			}
		})
	}
	var tried [6]atomic.Int64
	answers := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	for range 20 {
		attack(func(conn net.Conn) {
			tried[0].Add(1)
			fmt.Fprint(conn, "POST /api/v1/node/stop HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\nConnection: close\r\n\r\n")
			answers(conn)
		})
		attack(func(conn net.Conn) {
			tried[1].Add(1)
			for i := 0; i < 40; i++ {
				if _, err := fmt.Fprintf(conn, "%c", "GET / HTTP/1.1\r\n"[i%16]); err != nil {
					return
				}
				time.Sleep(50 * time.Millisecond) // the drip itself
			}
		})
		attack(func(conn net.Conn) { tried[2].Add(1); answers(conn) })
	}
	attack(func(conn net.Conn) {
		tried[3].Add(1)
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n")
		for {
			if _, err := fmt.Fprint(conn, "X-Y: ", strings.Repeat("z", 1000), "\r\n"); err != nil {
				return
			}
		}
	})
	attack(func(conn net.Conn) { // in chunks: no length gives it away
		tried[4].Add(1)
		fmt.Fprintf(conn, "POST /api/v1/node/stop HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\n", secret)
		chunk := fmt.Sprintf("10000\r\n%s\r\n", strings.Repeat(" ", 0x10000))
		for range 1 << 14 { // a gigabyte
			if _, err := fmt.Fprint(conn, chunk); err != nil {
				return
			}
		}
		t.Error("have a gigabyte taken")
	})
	attack(func(conn net.Conn) {
		tried[5].Add(1)
		fmt.Fprintf(conn, "GET /api/v1/ws HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nOrigin: https://theirs.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n", secret)
		line, _ := bufio.NewReader(conn).ReadString('\n')
		if line != "" && !strings.Contains(line, "403") {
			t.Errorf("want the foreign origin refused, have %q", line)
		}
	})

	crowded := h.latency(t, 200)
	for range 20 {
		h.want(200, "GET", "/api/v1/status", secret)
	}
	close(stop)
	crowd.Wait()
	for i := range tried {
		if tried[i].Load() == 0 {
			t.Errorf("attack %d was not tried", i)
		}
	}
	t.Logf("supervisor's request, p50 and p99: alone %s %s; in the crowd %s %s; connections: %d wrong tokens, %d drips, %d silent, %d floods, %d endless bodies, %d foreign origins",
		alone[len(alone)/2], alone[len(alone)*99/100], crowded[len(crowded)/2], crowded[len(crowded)*99/100],
		tried[0].Load(), tried[1].Load(), tried[2].Load(), tried[3].Load(), tried[4].Load(), tried[5].Load())
	// The crowd is in this process too, and the race detector slows all of it.
	if have := crowded[len(crowded)/2]; have > 20*time.Millisecond {
		t.Errorf("want the loop unaffected, have p50 %s", have)
	}
	if have := h.sup.Status().Pid; pid != have {
		t.Errorf("want the node untouched, pid %d, have %d", pid, have)
	}
	h.http.CloseIdleConnections()
	leaves(t, goroutines, files)
}

// leaves waits until no more goroutines and descriptors are open than before.
func leaves(t *testing.T, goroutines, files int) {
	t.Helper()
	what := fmt.Sprintf("%d goroutines and %d descriptors again", goroutines, files)
	eventually(t, what, func() bool { return runtime.NumGoroutine() <= goroutines && descriptors(t) <= files })
}
