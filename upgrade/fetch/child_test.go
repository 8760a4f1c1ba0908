package fetch

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestKilledDownloadIsResumed(t *testing.T) {
	t.Parallel()
	content := program(500_000)
	reached := make(chan struct{})
	s := serve(t, content, stall(content, 200_000, reached))
	v := newVolume(t)
	src := Source{URL: s.URL, Checksum: "sha256:" + sum(content)}
	cmd := child{Dir: v.cfg.Dir, URL: src.URL, Checksum: src.Checksum, Dest: v.dest}.command(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-reached
	v.waitFor(t, 200_000)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if _, err := v.get(src); err != nil {
		t.Fatal(err)
	}
	v.holds(t, content)
	if want, have := ",bytes=200000-", s.ranges(); want != have {
		t.Errorf("want ranges %q, have %q", want, have)
	}
}

func TestProxyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	content := program(5000)
	var asked string
	s := serve(t, content, func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		asked = r.RequestURI
		return false
	})
	v := newVolume(t)
	c := child{
		Dir: v.cfg.Dir, Dest: v.dest, AllowHTTP: true,
		URL: "http://node.invalid/wemixd", Checksum: "sha256:" + sum(content),
	}
	out, err := c.command(t, "http_proxy="+s.URL, "HTTP_PROXY="+s.URL, "NO_PROXY=").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	v.holds(t, content)
	if asked != c.URL {
		t.Errorf("want the proxy asked for %s, have %q", c.URL, asked)
	}
}

func TestProxyIsNotQuotedWithItsPassword(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	c := child{
		Dir: v.cfg.Dir, Dest: v.dest, AllowHTTP: true,
		URL: "http://user:topsecret@node.invalid/wemixd?sig=topsecret", Checksum: "sha256:" + sum(nil),
	}
	for _, proxy := range []string{"http://me:topsecret@127.0.0.1:1", "http://me:topsecret@h%zz"} {
		cmd := c.command(t, "http_proxy="+proxy, "HTTP_PROXY="+proxy, "NO_PROXY=", timeoutEnv+"=200ms")
		out, err := cmd.CombinedOutput()
		if err == nil || strings.Contains(string(out), "topsecret") || !strings.Contains(string(out), "http://node.invalid/wemixd?...") {
			t.Errorf("want an error without secrets, have %v: %s", err, out)
		}
		t.Logf("%s", out)
	}
}

func TestAuthorityOfTheFileWins(t *testing.T) {
	t.Parallel()
	content := program(5000)
	s := &site{content: content}
	s.Server = httptest.NewTLSServer(s)
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	v := newVolume(t)
	c := child{Dir: v.cfg.Dir, URL: s.URL, Checksum: "sha256:" + sum(content), Dest: v.dest}
	begin := time.Now()
	out, err := c.command(t, "SSL_CERT_FILE=/nowhere", "SSL_CERT_DIR=/nowhere").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "unknown authority") || time.Since(begin) > 5*time.Second {
		t.Errorf("want an unknown authority at once, have %v: %s", err, out)
	}
	v.untouched(t, nil, nil)
	if out, err := c.command(t, "SSL_CERT_FILE="+file, "SSL_CERT_DIR=/nowhere").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	v.holds(t, content)
}

func TestBuiltInAuthorities(t *testing.T) {
	if os.Getenv("SSL_CERT_FILE") != "/nowhere" {
		cmd := child{}.command(t, "SSL_CERT_FILE=/nowhere", "SSL_CERT_DIR=/nowhere")
		cmd.Env = append(cmd.Env, childEnv+"=")
		cmd.Args = append(cmd.Args, "-test.run=^TestBuiltInAuthorities$", "-test.count=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	Roots()
	Roots() // twice is as once
	pool, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	if pool.Equal(x509.NewCertPool()) {
		t.Fatal("want authorities where the system has none")
	}
}
