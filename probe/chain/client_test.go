package chain

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

func TestCallOverEveryTransport(t *testing.T) {
	t.Parallel()
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 15))
	mkdir(t, long)
	for _, tc := range []struct {
		name    string
		address func(*node) string
		streams bool
	}{
		{"http", func(n *node) string { return n.http(t) }, false},
		{"ws", func(n *node) string { return n.ws(t) }, true},
		{"ipc", func(n *node) string { return n.ipc(t, filepath.Join(t.TempDir(), "geth.ipc")) }, true},
		{"ipc beyond 108 bytes", func(n *node) string { return longSocket(t, n, filepath.Join(long, strings.Repeat("x", 60)+".ipc")) }, true},
	} {
		n := newNode(t)
		c, err := NewClient(tc.address(n))
		if err != nil {
			t.Fatal(err)
		}
		var id hexutil.Uint64
		if err := c.Call(t.Context(), &id, "eth_chainId"); err != nil || id != 1337 {
			t.Errorf("%s: want 1337, have %d, %v", tc.name, id, err)
		}
		if err := c.Call(t.Context(), nil, "wemix_getValidators"); !errors.Is(err, ErrNoMethod) {
			t.Errorf("%s: want ErrNoMethod, have %v", tc.name, err)
		}
		var peers hexutil.Uint64
		reqs := []Request{{Method: "net_peerCount", Result: &peers}, {Method: "status"}}
		if err := c.Batch(t.Context(), reqs); err != nil || peers != 3 || !errors.Is(reqs[1].Err, ErrNoMethod) {
			t.Errorf("%s: want 3 peers and no status, have %d, %v, %v", tc.name, peers, reqs[1].Err, err)
		}
		if calls, failed := c.Counts(); calls != 4 || failed != 0 {
			t.Errorf("%s: want 4 calls, none failed, have %d, %d", tc.name, calls, failed)
		}
		if have := c.Streams(); have != tc.streams {
			t.Errorf("%s: want streams %v, have %v", tc.name, tc.streams, have)
		}
		c.Close()
		if err := c.Call(t.Context(), &id, "eth_chainId"); err != nil { // dials again
			t.Errorf("%s: call after Close: %v", tc.name, err)
		}
		c.Close()
	}
}

// TestHostileHTTP has every answer end soon, in little memory and in one short
// line that says what was wrong.
func TestHostileHTTP(t *testing.T) {
	// Not parallel: it measures what is allocated.
	chunk := bytes.Repeat([]byte(" "), 64<<10)
	flood := func(w io.Writer, megabytes int) {
		for range megabytes * 16 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		want    string // part of the error
	}{
		{"200 MB of spaces", func(w http.ResponseWriter, _ *http.Request) { flood(w, 200) }, "larger than"},
		{"a string of 200 MB", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `[{"jsonrpc":"2.0","id":1,"result":"`)
			flood(w, 200)
		}, "larger than"},
		{"500 with 200 MB", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			flood(w, 200)
		}, "500"},
		{"500 with a page", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>\n\x1b[31mno\n</html>", http.StatusBadGateway)
		}, "502 Bad Gateway: <html> [31mno </html>"},
		{"HTML", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<!DOCTYPE html><h1>hi") }, "invalid character"},
		{"nothing", func(http.ResponseWriter, *http.Request) {}, "EOF"},
		{"an empty list", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "[]") }, "answer to none"},
		{"answers to other questions", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `[{"jsonrpc":"2.0","id":99,"result":"0x1"}]`)
		}, "answer to none"},
		{"a redirect elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusTemporaryRedirect)
		}, "redirected"},
		{"headers without end", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 40 {
				w.Header().Add("X", strings.Repeat("x", 4<<10)+string(rune('a'+i%26)))
			}
		}, "headers"},
		{"a stall in the middle", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `[{"jsonrpc":"2.0",`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "deadline"},
		{"no answer at all", func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // else the server does not notice that we left
			<-r.Context().Done()
		}, "deadline"},
		{"a redirect of the connection", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Close()
		}, "EOF"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := httptest.NewServer(tc.handler)
			defer srv.Close()
			c, err := NewClient(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			limit := deadline
			if tc.want == "deadline" {
				limit = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			var number hexutil.Uint64
			used := allocated(func() {
				err = c.Batch(ctx, []Request{{Method: "eth_blockNumber", Result: &number}})
			})
			if err == nil {
				t.Fatal("want an error, have none")
			}
			line := oneLine(err)
			if !strings.Contains(line, tc.want) {
				t.Errorf("want %q in the error, have %q", tc.want, line)
			}
			if len(line) > 700 || strings.ContainsAny(line, "\n\x1b") {
				t.Errorf("not one short line: %q", line)
			}
			if used > 40<<20 {
				t.Errorf("want at most 40 MiB allocated, have %d", used>>20)
			}
		})
	}
}

// TestHostileStream does the same to the transports that have no bodies.
func TestHostileStream(t *testing.T) {
	for _, tc := range []struct {
		name string
		talk func(net.Conn)
		want string
	}{
		{"200 MB of spaces", func(c net.Conn) {
			chunk := bytes.Repeat([]byte(" "), 64<<10)
			for range 200 * 16 {
				if _, err := c.Write(chunk); err != nil {
					return
				}
			}
		}, ""},
		{"garbage", func(c net.Conn) { io.WriteString(c, "<html>\n<html>\n"); io.Copy(io.Discard, c) }, ""},
		{"silence", func(c net.Conn) { io.Copy(io.Discard, c) }, "deadline"},
		{"a stall in the middle", func(c net.Conn) { io.WriteString(c, `[{"jsonrpc":"2.0",`); io.Copy(io.Discard, c) }, "deadline"},
		{"the door", func(c net.Conn) {}, ""},
	} {
		for _, via := range []string{"ipc", "ws"} {
			t.Run(tc.name+" over "+via, func(t *testing.T) {
				ln, address := listen(t, via)
				done := make(chan struct{})
				go func() { // joined below
					defer close(done)
					for {
						conn, err := ln.Accept()
						if err != nil {
							return
						}
						tc.talk(conn)
						conn.Close()
					}
				}()
				c, err := NewClient(address)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				began := time.Now()
				used := allocated(func() {
					err = c.Call(ctx, nil, "eth_blockNumber")
				})
				// Over WebSocket all of it breaks the handshake already.
				if err == nil || via == "ipc" && !strings.Contains(err.Error(), tc.want) {
					t.Errorf("want an error with %q, have %v", tc.want, err)
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("want an end at the deadline, have %s", took)
				}
				if used > 40<<20 {
					t.Errorf("want at most 40 MiB allocated, have %d", used>>20)
				}
				c.Close()
				ln.Close()
				<-done
			})
		}
	}
}

func TestCallerWhoLeavesDoesNotBreakTheConnection(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	c, err := NewClient(n.ipc(t, filepath.Join(t.TempDir(), "n.ipc")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Call(t.Context(), nil, "eth_chainId"); err != nil {
		t.Fatal(err)
	}
	before := c.link
	ctx, cancel := context.WithCancel(t.Context())
	n.set(func() { // meanwhile the node can't answer
		time.AfterFunc(10*time.Millisecond, cancel)
		err = c.Call(ctx, nil, "eth_chainId")
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("want context.Canceled, have %v", err)
	}
	if c.link != before {
		t.Fatal("the connection is another one")
	}
	if _, failed := c.Counts(); failed != 0 {
		t.Fatalf("want no error counted, have %d", failed)
	}
}

func listen(t *testing.T, via string) (net.Listener, string) {
	network, address, prefix := "unix", filepath.Join(t.TempDir(), "n.ipc"), ""
	if via == "ws" {
		network, address, prefix = "tcp", "127.0.0.1:0", "ws://"
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return ln, prefix + ln.Addr().String()
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
