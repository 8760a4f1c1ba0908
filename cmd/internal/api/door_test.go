package api

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/gorilla/websocket"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/alert"
)

const secret = "0123456789abcdef0123456789abcdef"

// house is a server with a door and a node behind it.
type house struct {
	t    *testing.T
	url  string // without a path
	door *Door
	sup  *supervisor.Supervisor
	hub  *Hub
	http *http.Client
	end  func() // of the supervisor
}

func open(t *testing.T, script string, edit func(*DoorConfig)) *house {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DoorConfig{TokenFile: file, Logger: log.NewNopLogger()}
	if edit != nil {
		edit(&cfg)
	}
	door, err := NewDoor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := ListenTCP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, url: "http://" + ln.Addr().String(), door: door, http: &http.Client{Transport: &http.Transport{}}}
	h.sup = supervisor.New(supervisor.Config{
		Reaper: rp, Logger: log.NewNopLogger(),
		Program: func() (string, error) { return "/bin/sh", nil },
		Args:    []string{"-c", script}, Env: os.Environ(), Grace: 5 * time.Second, RestartWindow: time.Minute,
		OnTransition: func(from, to supervisor.Status) { h.hub.Publish(TopicState, TransitionOf(from, to)) },
	})
	h.hub = NewHub(h.sup.Tail(), log.NewNopLogger())
	srv := NewServer(Config{
		Supervisor: h.sup, Hub: h.hub,
		Status:   func() Status { return StatusOf(Sources{Supervisor: h.sup.Status()}, time.Now()) },
		Health:   func() probe.Health { return probe.Health{} },
		Alerts:   func() []alert.Alert { return nil },
		Metrics:  func() any { return nil },
		Settings: func() []Setting { return nil },
		Reload:   func() (Reloaded, error) { return Reloaded{}, nil },
	})
	ctx, cancel := context.WithCancel(context.Background())
	h.end = cancel
	done := make(chan struct{}, 3)
	go func() { _ = h.sup.Run(ctx); done <- struct{}{} }()
	go func() { _ = h.hub.Run(ctx, h.sup.Closed()); done <- struct{}{} }()
	go func() { _ = srv.Serve(ctx, ln, door, h.sup.Closed()); done <- struct{}{} }()
	t.Cleanup(func() { h.http.CloseIdleConnections(); cancel(); <-done; <-done; <-done })
	return h
}

// running waits for the node and returns its pid.
func (h *house) running() int {
	h.t.Helper()
	eventually(h.t, "the node running", func() bool { return h.sup.Status().State == supervisor.Running })
	return h.sup.Status().Pid
}

// ask sends a request and returns the answer's status, header and refusal.
func (h *house) ask(method, path, token string, header ...string) (int, http.Header, Refusal) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := h.http.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	var no Refusal
	if resp.StatusCode >= 400 {
		if err := json.Unmarshal(b, &no); err != nil || no.Error == "" || no.Code == "" {
			h.t.Errorf("%s %s: want error and code, have %d %s", method, path, resp.StatusCode, b)
		}
	}
	return resp.StatusCode, resp.Header, no
}

func (h *house) want(status int, method, path, token string, header ...string) {
	h.t.Helper()
	if have, _, no := h.ask(method, path, token, header...); status != have {
		h.t.Errorf("%s %s: want %d, have %d %s", method, path, status, have, no.Error)
	}
}

func TestNoRouteIsOpenWithoutTheToken(t *testing.T) {
	h := open(t, "echo up; exec sleep 60", nil)
	pid := h.running()
	for _, r := range NewServer(Config{}).routes() {
		path := segment.ReplaceAllString(base+r.Path, "heap")
		h.want(401, r.Method, path, "")
	}
	h.want(401, "GET", "/nowhere", "")
	h.want(401, "GET", "/api/v1/status", "wrong")
	h.want(401, "GET", "/api/v1/status", secret[:31])
	h.want(401, "GET", "/api/v1/status", secret+"0")
	h.want(401, "GET", "/api/v1/status", "", "Authorization", "Basic "+secret)
	h.want(401, "GET", "/api/v1/status", "", "Authorization", "Bearer")
	for _, query := range []string{"token", "access_token", "Token", "api_key"} {
		h.want(400, "GET", "/api/v1/status?"+query+"="+secret, "")
		h.want(400, "GET", "/api/v1/status?"+query+"="+secret, secret)
	}
	if have := h.sup.Status().Pid; pid != have {
		t.Errorf("want the node untouched, pid %d, have %d", pid, have)
	}
	h.want(200, "GET", "/api/v1/status", secret)
	h.want(200, "GET", "/api/v1/status", "", "Authorization", "bearer "+secret)
	h.want(404, "GET", "/nowhere", secret)
}

func TestWrongTokensAreSlowedDown(t *testing.T) {
	t.Parallel()
	h := open(t, "exec sleep 60", nil)
	now := time.Now()
	h.door.failures.now = func() time.Time { return now }
	for i := range failuresBurst {
		if status, _, _ := h.ask("GET", "/api/v1/status", fmt.Sprint("wrong", i)); status != 401 {
			t.Fatalf("guess %d: want 401, have %d", i, status)
		}
	}
	status, header, _ := h.ask("GET", "/api/v1/status", "wrong")
	if status != 429 || header.Get("Retry-After") == "" {
		t.Fatalf("want 429 and when to come back, have %d %v", status, header)
	}
	// Behind a proxy who guesses and who owns the token have one address.
	h.want(200, "GET", "/api/v1/status", secret)
	h.want(429, "GET", "/api/v1/status", "wrong")
	now = now.Add(failuresEvery)
	h.want(401, "GET", "/api/v1/status", "wrong")
	h.want(429, "GET", "/api/v1/status", "wrong")
	h.want(200, "GET", "/api/v1/status", secret)
}

func TestFailuresForget(t *testing.T) {
	t.Parallel()
	now := time.Now()
	f := newFailures(func() time.Time { return now })
	for i := range 3 * failuresPeers {
		f.add(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if have := len(f.peers); have > failuresPeers {
		t.Fatalf("want at most %d addresses, have %d", failuresPeers, have)
	}
	now = now.Add(time.Minute)
	f.add(netip.MustParseAddr("::1"))
	if have := len(f.peers); have != 1 {
		t.Fatalf("want the old ones forgotten, have %d", have)
	}
}

func TestOneIPv6CustomerIsOnePeer(t *testing.T) {
	t.Parallel()
	a, b := peerOf(&http.Request{RemoteAddr: "[2001:db8::1]:1"}), peerOf(&http.Request{RemoteAddr: "[2001:db8::ffff:2]:2"})
	if a != b || a == peerOf(&http.Request{RemoteAddr: "[2001:db8:0:1::1]:1"}) {
		t.Fatalf("want one /64 to be one, have %s and %s", a, b)
	}
	if want, have := netip.MustParseAddr("10.0.0.1"), peerOf(&http.Request{RemoteAddr: "[::ffff:10.0.0.1]:1"}); want != have {
		t.Fatalf("want %s, have %s", want, have)
	}
}

func TestPathTricks(t *testing.T) {
	t.Parallel()
	h := open(t, "exec sleep 60", nil)
	for _, path := range []string{
		"/api/v1/profile/..%2f..%2fetc", "/api/v1/..%2fv1/status", "/api/v1/%2e%2e/status", "/api/v1/../v1/status",
		"//api/v1/status", "/api/v1//status", "/api/v1/profile/..%5cx", "/api/v1/profile/heap%00", "/api/v1/status%0a",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n", path, secret)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 400 {
			t.Errorf("%s: want 400, have %d", path, resp.StatusCode)
		}
		conn.Close()
	}
	h.want(404, "GET", "/api/v1/status/", secret)
	h.want(404, "GET", "/api/v1/profile/nonsense", secret)
}

func TestSlowAndHugeClientsAreBounded(t *testing.T) {
	t.Parallel()
	h := open(t, "exec sleep 60", nil)
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		return conn
	}
	t.Run("a header that drips is cut off", func(t *testing.T) {
		conn := dial()
		began := time.Now()
		go func() { // ends with the connection
			fmt.Fprint(conn, "GET /api/v1/status HTTP/1.1\r\n")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(conn, "X-%d: 1\r\n", i); err != nil {
					return
				}
				time.Sleep(50 * time.Millisecond) // the drip itself
			}
		}()
		_, _ = io.Copy(io.Discard, conn)
		if took := time.Since(began); took > usual.header+5*time.Second {
			t.Fatalf("want it cut off after %s, have %s", usual.header, took)
		}
	})
	t.Run("a flood of headers", func(t *testing.T) {
		conn := dial()
		go func() { // ends with the connection
			fmt.Fprint(conn, "GET /api/v1/status HTTP/1.1\r\nHost: x\r\n")
			for i := range 1 << 20 {
				if _, err := fmt.Fprintf(conn, "X-%d: 1\r\n", i); err != nil {
					return
				}
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Fatalf("want 431 or the end, have %d", resp.StatusCode)
		}
	})
	t.Run("a body of a gigabyte", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), "POST", h.url+"/api/v1/node/stop", io.LimitReader(zeros{}, 1<<30))
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = 1 << 30
		req.Header.Set("Authorization", "Bearer "+secret)
		resp, err := h.http.Do(req)
		if err == nil { // the end of the connection is as good
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Fatalf("want 413, have %d", resp.StatusCode)
			}
		}
	})
	t.Run("strangers do not keep others out", func(t *testing.T) {
		for range 50 {
			dial() // and say nothing
		}
		h.want(200, "GET", "/api/v1/status", secret)
	})
}

// zeros is a JSON string without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	h := open(t, "exec sleep 60", func(c *DoorConfig) { c.Origins = []string{"https://ours.example"} })
	_, header, _ := h.ask("GET", "/api/v1/status", secret, "Origin", "https://theirs.example")
	if have := header.Get("Access-Control-Allow-Origin"); have != "" {
		t.Errorf("want no CORS for a foreign origin, have %q", have)
	}
	_, header, _ = h.ask("GET", "/api/v1/status", secret, "Origin", "https://ours.example")
	if have := header.Get("Access-Control-Allow-Origin"); have != "https://ours.example" {
		t.Errorf("want the listed origin allowed, have %q", have)
	}
	h.want(204, "OPTIONS", "/api/v1/node/stop", "", "Origin", "https://ours.example", "Access-Control-Request-Method", "POST")
	h.want(401, "OPTIONS", "/api/v1/node/stop", "", "Origin", "https://theirs.example", "Access-Control-Request-Method", "POST")
	for origin, want := range map[string]int{"https://theirs.example": 403, "null": 403, "https://ours.example": 101, h.url: 101, "": 101} {
		header := http.Header{"Authorization": {"Bearer " + secret}}
		if origin != "" {
			header.Set("Origin", origin)
		}
		conn, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(h.url, "http")+"/api/v1/ws", header)
		if resp == nil || resp.StatusCode != want {
			t.Errorf("%q: want %d, have %v %v", origin, want, resp, err)
		}
		if conn != nil {
			conn.Close()
		}
	}
	if err := h.door.Reload([]string{"https://theirs.example"}); err != nil {
		t.Fatal(err)
	}
	_, header, _ = h.ask("GET", "/api/v1/status", secret, "Origin", "https://theirs.example")
	if have := header.Get("Access-Control-Allow-Origin"); have == "" {
		t.Errorf("want the origin allowed after the reload")
	}
}

func TestParseOrigins(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"": true, "https://a.example": true, "http://a:8080, https://b": true,
		"*": false, "a.example": false, "https://a.example/": false, "https://u@a": false, "ftp://a": false, "https://a?x": false,
	} {
		if _, err := ParseOrigins(text); (err == nil) != ok {
			t.Errorf("%q: want valid %t, have %v", text, ok, err)
		}
	}
}

func TestTokenFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"short":    {"0123456789abcdef0123456789abcde\n", 0o600, "31 characters"},
		"empty":    {"", 0o600, "0 characters"},
		"world":    {secret, 0o604, "chmod 600"},
		"group":    {secret, 0o640, "chmod 600"},
		"spaces":   {"two words " + secret, 0o600, "one word"},
		"fine":     {secret, 0o600, ""},
		"readonly": {secret + "\n\n", 0o400, ""},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, tc.mode); err != nil {
			t.Fatal(err)
		}
		_, err := readToken(file)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: want %q, have %v", name, tc.want, err)
		}
		if err != nil && strings.Contains(err.Error(), "0123456789abcdef") {
			t.Errorf("%s: have the token in the error: %v", name, err)
		}
	}
	for _, odd := range []string{filepath.Join(dir, "none"), dir, "/dev/zero"} {
		if _, err := readToken(odd); err == nil {
			t.Errorf("%s: want it refused", odd)
		}
	}
}

func TestTokenIsReadAgain(t *testing.T) {
	t.Parallel()
	h := open(t, "exec sleep 60", nil)
	const other = "ffffffffffffffffffffffffffffffff"
	if err := os.WriteFile(h.door.token.file, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	h.want(200, "GET", "/api/v1/status", secret)
	if err := h.door.Reload(nil); err != nil {
		t.Fatal(err)
	}
	h.want(401, "GET", "/api/v1/status", secret)
	h.want(200, "GET", "/api/v1/status", other)
	if err := os.Chmod(h.door.token.file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := h.door.Reload(nil); err == nil {
		t.Fatal("want the file refused")
	}
	h.want(200, "GET", "/api/v1/status", other)
}

// issue writes a fresh certificate for name.
func issue(t *testing.T, cert, key, name string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCertificateIsRenewedAlone(t *testing.T) {
	t.Parallel()
	cert, key := filepath.Join(t.TempDir(), "c"), filepath.Join(t.TempDir(), "k")
	issue(t, cert, key, "first.example")
	h := open(t, "exec sleep 60", func(c *DoorConfig) { c.CertFile, c.KeyFile = cert, key })
	address := strings.TrimPrefix(h.url, "http://")
	named := func() string {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].DNSNames[0]
	}
	if have := named(); have != "first.example" {
		t.Fatalf("have %s", have)
	}
	if conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		conn.Close()
		t.Fatal("want TLS 1.1 refused")
	}
	h.url = "https://" + address
	h.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	h.want(200, "GET", "/api/v1/status", secret)
	conn, _, err := (&websocket.Dialer{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}).Dial("wss://"+address+"/api/v1/ws", http.Header{"Authorization": {"Bearer " + secret}})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()

	if err := os.WriteFile(cert, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(lookEvery + 100*time.Millisecond); time.Now().Before(until); {
		if have := named(); have != "first.example" {
			t.Fatalf("want the old one kept, have %s", have)
		}
	}
	issue(t, cert, key, "second.example")
	eventually(t, "the new certificate", func() bool { return named() == "second.example" })
}

func TestRequestsHaveIds(t *testing.T) {
	t.Parallel()
	h := open(t, "exec sleep 60", nil)
	_, header, _ := h.ask("GET", "/api/v1/status", secret, "X-Request-Id", "mine-1.2_3")
	if have := header.Get("X-Request-Id"); have != "mine-1.2_3" {
		t.Errorf("want our own id back, have %q", have)
	}
	for _, odd := range []string{"a b", "x\"y", strings.Repeat("x", 65), ""} {
		_, header, _ := h.ask("GET", "/api/v1/status", "", "X-Request-Id", odd)
		if have := header.Get("X-Request-Id"); len(have) != 16 {
			t.Errorf("%q: want a fresh id, have %q", odd, have)
		}
	}
}
