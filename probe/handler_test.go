package probe

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/wemix/wemixvisor/probe/chain"
)

func TestHandler(t *testing.T) {
	t.Parallel()
	p := New(usualConfig())
	p.SetNode(running())
	f := healthy()
	f.Highest = 153
	p.SetFacts(f)
	h := p.Handler(func(w io.Writer) { io.WriteString(w, "wemixvisor_node_up 1\n") })
	for _, tc := range []struct {
		name, method, path, accept string
		code                       int
		kind, body                 string
	}{
		{"live", "GET", "/livez", "", 200, "text/plain; charset=utf-8", "ok"},
		{"live, said at length", "GET", "/livez?verbose", "", 200, "text/plain; charset=utf-8", "[+]supervisor ok\n[+]process ok\n[+]rpc_endpoint ok\nok\n"},
		{"not ready", "GET", "/readyz", "", 503, "text/plain; charset=utf-8", "[-]sync 53 blocks behind\n"},
		{"not ready, said at length", "GET", "/readyz?verbose=1", "*/*", 503, "text/plain; charset=utf-8", "[+]process ok\n[+]change ok\n[+]rpc_endpoint ok\n[-]sync 53 blocks behind\n[+]network ok\n"},
		{"started", "GET", "/startupz", "", 200, "text/plain; charset=utf-8", "ok"},
		{"live as JSON", "GET", "/livez", "application/json", 200, "application/json", `{"healthy":true,"timestamp":"2026-01-02T12:00:00Z","checks":{"process":{"name":"process","healthy":true,"error":""},"rpc_endpoint":{"name":"rpc_endpoint","healthy":true,"error":""},"supervisor":{"name":"supervisor","healthy":true,"error":""}}}` + "\n"},
		{"metrics", "GET", "/metrics", "", 200, "text/plain; version=0.0.4; charset=utf-8", "wemixvisor_node_up 1\n"},
		{"nothing there", "GET", "/", "", 404, "text/plain; charset=utf-8", "404 page not found\n"},
		{"nothing to post to there", "POST", "/x", "", 404, "text/plain; charset=utf-8", "404 page not found\n"},
		{"post", "POST", "/livez", "", 405, "text/plain; charset=utf-8", "read only\n"},
		{"delete", "DELETE", "/metrics", "", 405, "text/plain; charset=utf-8", "read only\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(tc.method, tc.path, nil)
			if tc.accept != "" {
				r.Header.Set("Accept", tc.accept)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tc.code || w.Header().Get("Content-Type") != tc.kind || w.Body.String() != tc.body {
				t.Errorf("want %d %s %q, have %d %s %q", tc.code, tc.kind, tc.body, w.Code, w.Header().Get("Content-Type"), w.Body)
			}
			if tc.code == http.StatusMethodNotAllowed && w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("want Allow, have %q", w.Header())
			}
		})
	}

	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
	var have Health
	if err := json.Unmarshal(w.Body.Bytes(), &have); err != nil || w.Code != 503 || have.Healthy || have.Checks["sync"].Error != "53 blocks behind" {
		t.Errorf("want 503 and the health object, have %d %s, %v", w.Code, w.Body, err)
	}
}

func BenchmarkProbe(b *testing.B) {
	p := New(usualConfig())
	p.SetNode(running())
	p.SetFacts(healthy())
	h := p.Handler(nil)
	for _, path := range []string{"/livez", "/readyz", "/healthz"} {
		b.Run(path[1:], func(b *testing.B) {
			r := httptest.NewRequest("GET", path, nil)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(discard{}, r)
			}
		})
	}
	b.Run("not ready", func(b *testing.B) {
		p.SetFacts(chain.Facts{})
		r := httptest.NewRequest("GET", "/readyz", nil)
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(discard{}, r)
		}
	})
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
