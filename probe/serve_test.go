package probe

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// begin serves a handler and returns its address, a function that ends the
// context, and one that waits for the end.
func begin(t *testing.T, h http.Handler, closed <-chan struct{}, wait patience) (addr string, cancel func(), ended func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, ln, h, closed, wait) }() // joined by ended
	return ln.Addr().String(), cancel, func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Second):
			t.Fatal("want an end, have none")
			return nil
		}
	}
}

var short = patience{
	header: 100 * time.Millisecond, read: 100 * time.Millisecond, write: 200 * time.Millisecond,
	idle: 100 * time.Millisecond, shutdown: 100 * time.Millisecond,
}

func get(addr, path string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

func TestServeAnswersUntilTheSupervisorIsClosed(t *testing.T) {
	t.Parallel()
	p := New(usualConfig())
	p.SetNode(running())
	p.SetFacts(healthy())
	closed := make(chan struct{})
	addr, cancel, ended := begin(t, p.Handler(nil), closed, usual)
	if have, err := get(addr, "/readyz"); err != nil || !strings.HasPrefix(have, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(have, "\r\n\r\nok") {
		t.Errorf("want ready, have %q, %v", have, err)
	}
	p.SetNode(Node{State: "stopping"})
	cancel()
	if have, err := get(addr, "/readyz"); err != nil || !strings.HasPrefix(have, "HTTP/1.1 503 ") || !strings.HasSuffix(have, "[-]process stopping\n") {
		t.Errorf("want 503 while the node stops, have %q, %v", have, err)
	}
	close(closed)
	if err := ended(); !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, have %v", err)
	}
	if have, err := get(addr, "/readyz"); err == nil {
		t.Errorf("want nobody there, have %q", have)
	}
}

func TestServeEndsWithItsListener(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := Serve(t.Context(), ln, http.NotFoundHandler(), nil); err == nil || !strings.HasPrefix(err.Error(), "serve probes: ") {
		t.Fatalf("want why it does not serve, have %v", err)
	}
}

// TestSlowClientsAreCutOff has each connection closed by the server, while it
// answers others.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 1<<20)
	gaveUp := make(chan error, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			var err error
			for range 64 {
				if _, err = io.WriteString(w, large); err != nil {
					break
				}
			}
			gaveUp <- err
			return
		}
		io.WriteString(w, "ok")
	})
	addr, cancel, ended := begin(t, h, nil, short)
	t.Cleanup(func() { cancel(); ended() }) // after the parallel ones below
	for _, tc := range []struct {
		name string
		talk func(net.Conn)
	}{
		{"says nothing", func(net.Conn) {}},
		{"says a byte at a time", func(c net.Conn) {
			for _, b := range []byte("GET /livez HTTP/1.1\r\nHost: " + strings.Repeat("x", 1000)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond) // its pace, not ours
			}
		}},
		{"announces a body and keeps it", func(c net.Conn) {
			io.WriteString(c, "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx")
		}},
		{"stays after its answer", func(c net.Conn) { io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") }},
		{"has headers without end", func(c net.Conn) {
			io.WriteString(c, "GET /livez HTTP/1.1\r\n")
			for {
				if _, err := io.WriteString(c, "X: "+strings.Repeat("x", 4000)+"\r\n"); err != nil {
					return
				}
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			tc.talk(conn)
			conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			var late net.Error
			if _, err := io.Copy(io.Discard, conn); errors.As(err, &late) && late.Timeout() {
				t.Error("want the connection closed, have it open")
			}
		})
	}
	t.Run("never reads", func(t *testing.T) {
		t.Parallel()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
		select {
		case err := <-gaveUp: // what the kernel buffered for it is its own
			if err == nil {
				t.Error("want it cut off, have the whole answer written")
			}
		case <-time.After(10 * time.Second):
			t.Error("want it cut off, have the server waiting")
		}
	})
	t.Run("others are answered", func(t *testing.T) {
		t.Parallel()
		if have, err := get(addr, "/livez"); err != nil || !strings.HasSuffix(have, "ok") {
			t.Errorf("want ok, have %q, %v", have, err)
		}
	})
}

func TestParlourShowsTheOldestOut(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := NewParlour(ln, 2)
	defer p.Close()
	come := func() (mine, theirs net.Conn) {
		t.Helper()
		mine, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err = p.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { mine.Close(); theirs.Close() })
		return mine, theirs
	}
	first, _ := come()
	_, second := come()
	second.Close()
	second.Close() // twice is once
	third, _ := come()
	fourth, there := come()
	if _, err := first.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("want the first shown out, have %v", err)
	}
	there.Write([]byte("x"))
	if b, err := bufio.NewReader(fourth).ReadByte(); err != nil || b != 'x' {
		t.Errorf("want the last one served, have %v", err)
	}
	_, _ = come()
	if _, err := third.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("want the third shown out next, have %v", err)
	}
	if p.guests.Len() != 2 {
		t.Errorf("want 2 guests, have %d", p.guests.Len())
	}
}

func TestGuestsThatStayAreNotShownOut(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := NewParlour(ln, 2)
	defer p.Close()
	knock := func() net.Conn {
		t.Helper()
		mine, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { mine.Close() })
		_ = mine.SetReadDeadline(time.Now().Add(10 * time.Second))
		return mine
	}
	accept := func() net.Conn {
		t.Helper()
		theirs, err := p.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { theirs.Close() })
		return theirs
	}
	knock()
	trusted := accept()
	trusted.(*guest).Stay()
	trusted.(*guest).Stay() // twice is once
	stranger := knock()
	accept()
	knock()
	last := accept()
	if _, err := stranger.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("want the stranger shown out, have %v", err)
	}
	last.(*guest).Stay()
	turned := knock() // all stay
	accepted := make(chan net.Conn, 1)
	go func() { c, _ := p.Accept(); accepted <- c }() // received below
	if _, err := turned.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("want the new one turned away, have %v", err)
	}
	trusted.Close()
	knock()
	if c := <-accepted; c == nil {
		t.Error("want a seat that was given up given again")
	} else {
		c.Close()
	}
}

// BenchmarkServe reports what 16 keep-alive clients see over real sockets.
func BenchmarkServe(b *testing.B) {
	p := New(usualConfig())
	p.SetNode(running())
	p.SetFacts(healthy())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, p.Handler(nil), nil) }() // joined below
	var mu sync.Mutex
	var took []time.Duration
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		var mine []time.Duration
		answer := make([]byte, 4<<10)
		for pb.Next() {
			began := time.Now()
			io.WriteString(conn, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
			if _, err := conn.Read(answer); err != nil {
				b.Error(err)
				return
			}
			mine = append(mine, time.Since(began))
		}
		mu.Lock()
		defer mu.Unlock()
		took = append(took, mine...)
	})
	cancel()
	<-done
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
