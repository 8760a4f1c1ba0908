package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
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
