package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestAnswersOfServers(t *testing.T) {
	t.Parallel()
	content := program(5000)
	good := "sha256:" + sum(content)
	code := func(code int, header ...string) func(int, http.ResponseWriter, *http.Request) bool {
		return func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if code < 500 && code != 429 || n <= 2 {
				for i := 0; i+1 < len(header); i += 2 {
					w.Header().Set(header[i], header[i+1])
				}
				http.Error(w, "<html>no</html>", code)
				return true
			}
			return false
		}
	}
	body := func(text string) func(int, http.ResponseWriter, *http.Request) bool {
		return func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.WriteString(w, text)
			return true
		}
	}
	chunked := func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		for range 10 {
			_, _ = w.Write(content)
			_ = http.NewResponseController(w).Flush()
		}
		return true
	}
	location := func(to string) func(int, http.ResponseWriter, *http.Request) bool {
		return func(_ int, w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, to, http.StatusFound)
			return true
		}
	}
	for _, tc := range []struct {
		name     string
		disturb  func(int, http.ResponseWriter, *http.Request) bool
		checksum string
		want     error
		says     string
		requests int
	}{
		{"500 twice, then fine", code(500), good, nil, "", 3},
		{"503 with a date long ago", code(503, "Retry-After", "Mon, 02 Jan 2006 15:04:05 GMT"), good, nil, "", 3},
		{"404", code(404), good, ErrNotFound, "404 Not Found", 1},
		{"410", code(410), good, ErrNotFound, "410 Gone", 1},
		{"401", code(401), good, ErrDenied, "401 Unauthorized", 1},
		{"403", code(403), good, ErrDenied, "403 Forbidden", 1},
		{"418", code(418), good, errAny, "418 I'm a teapot", 1},
		{"wrong checksum", nil, "sha256:" + strings.Repeat("ab", 32), ErrChecksum, sum(content), 1},
		{"wrong sha512", nil, "sha512:" + strings.Repeat("ab", 64), ErrChecksum, "sha512:", 1},
		{"absent checksum", nil, "", ErrNotAllowed, "checksum", 0},
		{"nonsense for a checksum", nil, "md5:00", ErrInvalid, "md5:00", 0},
		{"short checksum", nil, good[:60], ErrInvalid, good[:60], 0},
		{"page in the place of the binary", body("\n <!DOCTYPE html><html>Login</html>"), good, ErrChecksum, "HTML", 1},
		{"page that is what was promised", body("<html></html>"), "sha256:" + sum([]byte("<html></html>")), ErrContent, "HTML", 1},
		{"nothing", body(""), good, ErrChecksum, "empty", 1},
		{"nothing, as promised", body(""), "sha256:" + sum(nil), ErrContent, "empty", 1},
		{"announced too large", func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			announce(w, program(50_000), 10)
			return true
		}, good, ErrTooLarge, "50000 bytes", 1},
		{"too large without a word", chunked, good, ErrTooLarge, "20000", 1},
		{"redirect to itself", location("/again"), good, errRedirects, "too many redirects", 11},
		{"redirect to http elsewhere", location("http://192.0.2.1/x?sig=topsecret"), good, ErrNotAllowed, "http://192.0.2.1/x", 1},
		{"redirect to a file", location("file:///etc/passwd"), good, ErrNotAllowed, "file", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, content, tc.disturb)
			v := newVolume(t)
			v.cfg.MaxBytes = 20_000
			_, err := v.get(Source{URL: strings.Replace(s.URL, "://", "://user:topsecret@", 1) + "/node?sig=topsecret", Checksum: tc.checksum})
			if have := s.count(); tc.requests != have {
				t.Errorf("want %d requests, have %d", tc.requests, have)
			}
			if tc.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				v.holds(t, content)
				return
			}
			if tc.want == errAny && err != nil {
				err = fmt.Errorf("%w: %w", errAny, err)
			}
			v.untouched(t, err, tc.want)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("want %q in %v", tc.says, err)
			}
			if err != nil && (strings.Contains(err.Error(), "topsecret") || strings.Contains(err.Error(), "user")) {
				t.Errorf("want no secrets in %v", err)
			}
			t.Log(err)
		})
	}
}

var errAny = errors.New("any")

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	content := program(5000)
	for _, tc := range []struct {
		after string
		want  time.Duration // between the requests; 0: it gives up
	}{{"1", time.Second}, {"3600", 0}} {
		s := serve(t, content, func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n > 1 {
				return false
			}
			w.Header().Set("Retry-After", tc.after)
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		})
		v := newVolume(t)
		begin := time.Now()
		_, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(content)})
		took := time.Since(begin)
		if tc.want > 0 && (err != nil || took < tc.want) {
			t.Errorf("Retry-After %s: want success after it, have %v after %s", tc.after, err, took)
		}
		if tc.want == 0 && (err == nil || s.count() != 1 || took > 5*time.Second || !strings.Contains(err.Error(), "429")) {
			t.Errorf("Retry-After %s: want no wait beyond the deadline, have %v after %s, %d requests", tc.after, err, took, s.count())
		}
	}
}

func TestDeadlineEndsRetries(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	v := newVolume(t)
	v.cfg.Timeout, v.cfg.Backoff = 500*time.Millisecond, 20*time.Millisecond
	_, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(nil)})
	if err == nil || !strings.Contains(err.Error(), "gave up") || !strings.Contains(err.Error(), "502 Bad Gateway") {
		t.Errorf("want the last cause, have %v", err)
	}
	if n := s.count(); n < 3 || n > 20 {
		t.Errorf("want a few requests that become rarer, have %d", n)
	}
}

func TestRedirectFromHTTPSToHTTPIsRefused(t *testing.T) {
	t.Parallel()
	content := program(5000)
	plain := serve(t, content, nil)
	s := &site{content: content}
	s.disturb = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, plain.URL, http.StatusFound)
		return true
	}
	s.Server = httptest.NewTLSServer(s)
	t.Cleanup(s.Close)
	v := newVolume(t)
	f := New(v.cfg)
	f.client.Transport.(*http.Transport).TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	_, err := f.Get(context.Background(), Source{URL: s.URL, Checksum: "sha256:" + sum(content)}, v.dest)
	v.untouched(t, err, ErrNotAllowed)
	if plain.count() != 0 {
		t.Error("want the other server not asked")
	}
}

func TestRedirectTakesNoSecretsAlong(t *testing.T) {
	t.Parallel()
	content := program(5000)
	b := serve(t, content, nil)
	to := strings.Replace(b.URL, "127.0.0.1", "localhost", 1) + "/asset?sig=ofb"
	a := serve(t, nil, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, to, http.StatusFound)
		return true
	})
	v := newVolume(t)
	if _, err := v.get(Source{URL: strings.Replace(a.URL, "://", "://me:pw@", 1) + "/x?sig=ofa", Checksum: "sha256:" + sum(content)}); err != nil {
		t.Fatal(err)
	}
	v.holds(t, content)
	if user, pw, _ := a.requests[0].BasicAuth(); user != "me" || pw != "pw" {
		t.Errorf("want the password where it belongs, have %q %q", user, pw)
	}
	if h := b.requests[0].Header; h.Get("Authorization") != "" || h.Get("Referer") != "" {
		t.Errorf("want neither password nor signed query at the next server, have %v", h)
	}
}

func TestDribblingServerIsLeftAtTheDeadline(t *testing.T) {
	t.Parallel()
	content := program(5000)
	s := serve(t, content, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		announce(w, content, 0)
		for i := range content {
			select {
			case <-r.Context().Done():
				return true
			case <-time.After(10 * time.Millisecond): // the server's pace
			}
			_, _ = w.Write(content[i : i+1])
			_ = http.NewResponseController(w).Flush()
		}
		return true
	})
	v := newVolume(t)
	v.cfg.Timeout = 500 * time.Millisecond
	begin := time.Now()
	_, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(content)})
	if took := time.Since(begin); err == nil || !strings.Contains(err.Error(), "gave up") || took > 10*time.Second {
		t.Fatalf("want it given up, have %v after %s", err, took)
	}
	s.change(func(s *site) { s.disturb = nil })
	v.cfg.Timeout = 10 * time.Second
	if _, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(content)}); err != nil {
		t.Fatal(err)
	}
	v.holds(t, content)
	if s.requests[len(s.requests)-1].Header.Get("Range") == "" {
		t.Error("want it to go on from what had come")
	}
}
