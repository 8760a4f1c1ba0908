package fetch

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func isError(err, want error) bool {
	return want == nil && err == nil || want != nil && errors.Is(err, want)
}

func TestBinaryIsPlacedExecutable(t *testing.T) {
	t.Parallel()
	content := program(300_000)
	s512 := sha512.Sum512(content)
	for _, tc := range []struct{ query, checksum, verified string }{
		{"", "sha256:" + sum(content), "sha256:" + sum(content)},
		{"", "SHA256:" + strings.ToUpper(sum(content)), "sha256:" + sum(content)},
		{"", "sha512:" + hex.EncodeToString(s512[:]), "sha512:" + hex.EncodeToString(s512[:])},
		{"?a=%2f&checksum=sha256:" + sum(content) + "&b=+", "", "sha256:" + sum(content)},
		{"?checksum=sha256%3A" + sum(content), "sha256:" + sum(content), "sha256:" + sum(content)},
	} {
		s := serve(t, content, nil)
		v := newVolume(t)
		var last Progress
		v.cfg.OnProgress = func(p Progress) { last = p }
		r, err := v.get(Source{URL: s.URL + "/node" + tc.query, Checksum: tc.checksum})
		if err != nil {
			t.Fatal(err)
		}
		v.holds(t, content)
		if r.SHA256 != sum(content) || r.Bytes != 300_000 || r.Download != 300_000 || r.Archive != "" || !slices.Equal(r.Verified, []string{tc.verified}) {
			t.Errorf("%+v", r)
		}
		if last.Done != 300_000 || last.Total != 300_000 {
			t.Errorf("want the last progress complete, have %+v", last)
		}
		if want, have := strings.NewReplacer("checksum=sha256:"+sum(content)+"&", "", "?checksum=sha256%3A"+sum(content), "").Replace("/node"+tc.query), s.requests[0].RequestURI; want != have {
			t.Errorf("want %s asked for, have %s", want, have)
		}
	}
}

func TestExistingBinaryIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	content := program(1000)
	s := serve(t, content, nil)
	v := newVolume(t)
	if err := os.MkdirAll(filepath.Dir(v.dest), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(v.dest, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + strings.Repeat("0", 64)}); !errors.Is(err, ErrChecksum) {
		t.Fatalf("want ErrChecksum, have %v", err)
	}
	if b, _ := os.ReadFile(v.dest); string(b) != "old" {
		t.Fatalf("want the old file, have %q", b)
	}
	if _, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(content)}); err != nil {
		t.Fatal(err)
	}
	v.holds(t, content)
}

func TestCutDownloadIsResumed(t *testing.T) {
	t.Parallel()
	content := program(500_000)
	for _, k := range []int{0, 1, 4096, 250_000, 499_999} {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			t.Parallel()
			s := serve(t, content, cut(content, k))
			v := newVolume(t)
			var retries []error
			v.cfg.OnRetry = func(why error, _ time.Duration) { retries = append(retries, why) }
			if _, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(content)}); err != nil {
				t.Fatal(err)
			}
			v.holds(t, content)
			want := fmt.Sprintf(",bytes=%d-", k)
			if k == 0 {
				want = ","
			}
			if have := s.ranges(); want != have || len(retries) != 1 {
				t.Errorf("want ranges %q and one retry, have %q, %v", want, have, retries)
			}
		})
	}
}

// stall sends k bytes and then nothing, until the client goes.
func stall(content []byte, k int, reached chan<- struct{}) func(int, http.ResponseWriter, *http.Request) bool {
	return func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n > 1 {
			return false
		}
		announce(w, content, k)
		if reached != nil {
			close(reached)
		}
		<-r.Context().Done()
		return true
	}
}

func TestSilentServerIsAskedAgain(t *testing.T) {
	t.Parallel()
	content := program(100_000)
	s := serve(t, content, stall(content, 1234, nil))
	v := newVolume(t)
	v.cfg.Idle = 200 * time.Millisecond
	var why error
	v.cfg.OnRetry = func(err error, _ time.Duration) { why = err }
	if _, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(content)}); err != nil {
		t.Fatal(err)
	}
	v.holds(t, content)
	if want, have := ",bytes=1234-", s.ranges(); want != have || !errors.Is(why, errIdle) {
		t.Errorf("want %q for silence, have %q for %v", want, have, why)
	}
}

// interrupt leaves k bytes of the content in v, as the end of the program does.
func interrupt(t *testing.T, v volume, s *site, k int) {
	t.Helper()
	reached := make(chan struct{})
	s.change(func(s *site) { s.disturb = stall(s.content, k, reached) })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { // waited for below
		_, err := New(v.cfg).Get(ctx, Source{URL: s.URL, Checksum: "sha256:" + sum(s.content)}, v.dest)
		done <- err
	}()
	<-reached
	waitFor(t, func() bool {
		parts, _ := filepath.Glob(filepath.Join(v.cfg.Dir, "*.part"))
		if len(parts) != 1 {
			return false
		}
		info, err := os.Stat(parts[0])
		return err == nil && info.Size() == int64(k)
	})
	begin := time.Now()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("want context.Canceled, have %v", err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Fatalf("want a prompt end, have %s", took)
	}
	s.change(func(s *site) { s.disturb = nil })
}

func waitFor(t *testing.T, what func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !what(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

func TestLaterGetGoesOnWhereTheFirstEnded(t *testing.T) {
	t.Parallel()
	content, other := program(400_000), slices.Concat([]byte("\x7fELF other"), program(300_000))
	for _, tc := range []struct {
		name   string
		change func(s *site, part string)
		want   []byte
		ranges string
	}{
		{"the same file", func(*site, string) {}, content, ",bytes=150000-"},
		{"another tag", func(s *site, _ string) { s.etag = `"two"` }, content, ",bytes=150000-"},
		{
			"another tag, another file",
			func(s *site, _ string) { s.etag, s.content = `"two"`, other }, other, ",bytes=150000-",
		},
		{
			"a server that heeds no If-Range sends another file's part",
			func(s *site, _ string) {
				s.etag, s.content = `"two"`, other
				s.disturb = func(n int, w http.ResponseWriter, r *http.Request) bool {
					r.Header.Del("If-Range")
					return false
				}
			},
			other, ",bytes=150000-,",
		},
		{
			"a part that was not asked for",
			func(s *site, _ string) {
				s.disturb = func(n int, w http.ResponseWriter, r *http.Request) bool {
					if n == 2 {
						r.Header.Set("Range", "bytes=10-")
					}
					return false
				}
			},
			content, ",bytes=10-,",
		},
		{
			"a server without ranges",
			func(s *site, _ string) {
				s.disturb = func(_ int, w http.ResponseWriter, r *http.Request) bool {
					_, _ = w.Write(content)
					return true
				}
			},
			content, ",bytes=150000-",
		},
		{
			"the file became shorter",
			func(s *site, _ string) {
				s.content, s.disturb = other[:1000], func(_ int, w http.ResponseWriter, r *http.Request) bool {
					r.Header.Del("If-Range")
					return false
				}
			},
			other[:1000], ",bytes=150000-,",
		},
		{
			"a beginning that a power cut spoiled",
			func(_ *site, part string) { overwrite(t, part, 777) }, content, ",bytes=150000-,",
		},
		{
			"a record that a power cut spoiled",
			func(_ *site, part string) {
				if err := os.Truncate(strings.TrimSuffix(part, "part")+"json", 0); err != nil {
					t.Error(err)
				}
			},
			content, ",",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, content, nil)
			v := newVolume(t)
			interrupt(t, v, s, 150_000)
			if _, err := os.Lstat(filepath.Dir(filepath.Dir(v.dest))); err == nil {
				t.Fatal("want nothing at the destination")
			}
			parts, _ := filepath.Glob(filepath.Join(v.cfg.Dir, "*.part"))
			s.change(func(s *site) { tc.change(s, parts[0]) })
			// The plan stays, so the source has to: its checksum is what names it.
			src := Source{URL: s.URL, Checksum: "sha256:" + sum(content)}
			_, err := v.get(src)
			if have := s.ranges(); tc.ranges != have {
				t.Errorf("want ranges %q, have %q", tc.ranges, have)
			}
			if bytes.Equal(tc.want, content) {
				if err != nil {
					t.Fatal(err)
				}
				v.holds(t, content)
				return
			}
			v.untouched(t, err, ErrChecksum)
			if want := sum(tc.want); !strings.Contains(err.Error(), want) { // and not a mixture of both
				t.Errorf("want %s in %v", want, err)
			}
		})
	}
}

func overwrite(t *testing.T, file string, at int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(make([]byte, 100), at)
		f.Close()
	}
	if err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeResumedBeginsAnew(t *testing.T) {
	t.Parallel()
	content := program(200_000)
	old := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	for _, tc := range []struct {
		name, etag, modified string
		want                 string
	}{
		{"weak tag", `W/"one"`, "", ","},
		{"no validator", "", "", ","},
		{"time of this very second", "", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat), ","},
		{"time", "", old, ",bytes=1000-"},
	} {
		s := serve(t, content, nil)
		s.etag = tc.etag
		s.disturb = func(n int, w http.ResponseWriter, r *http.Request) bool {
			if tc.modified != "" {
				w.Header().Set("Last-Modified", tc.modified)
			}
			return cut(content, 1000)(n, w, r)
		}
		v := newVolume(t)
		if _, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(content)}); err != nil {
			t.Fatal(err)
		}
		v.holds(t, content)
		if have := s.ranges(); tc.want != have {
			t.Errorf("%s: want ranges %q, have %q", tc.name, tc.want, have)
		}
	}
}

func TestUnverifiableBeginningIsNotTrusted(t *testing.T) {
	t.Parallel()
	content := program(200_000)
	v := newVolume(t)
	v.cfg.AllowNoChecksum = true
	s := serve(t, content, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		announce(w, content, 1000)
		panic(http.ErrAbortHandler)
	})
	v.cfg.Timeout, v.cfg.Backoff = time.Second, 10*time.Second // the first wait is beyond it
	if _, err := v.get(Source{URL: s.URL}); err == nil {
		t.Fatal("want an error")
	}
	s.change(func(s *site) { s.disturb = nil })
	v.cfg.Timeout = 20 * time.Second
	r, err := v.get(Source{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	v.holds(t, content)
	if want, have := ",", s.ranges(); want != have || r.Verified != nil {
		t.Errorf("want ranges %q and nothing verified, have %q, %v", want, have, r.Verified)
	}
}

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

func TestOneDownloadOfASourceAtATime(t *testing.T) {
	t.Parallel()
	content := program(5000)
	v := newVolume(t)
	var second error
	s := serve(t, content, nil)
	s.disturb = func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n == 1 {
			_, second = v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(content)})
		}
		return false
	}
	if _, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(content)}); err != nil {
		t.Fatal(err)
	}
	v.holds(t, content)
	if !errors.Is(second, ErrBusy) {
		t.Errorf("want ErrBusy, have %v", second)
	}
}

func TestFileURL(t *testing.T) {
	t.Parallel()
	content := program(5000)
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "a node"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		url  string
		want error
	}{
		{"file://" + dir + "/a%20node?checksum=sha256:" + sum(content), nil},
		{"file://" + file + "?checksum=sha256:" + sum(nil), ErrChecksum},
		{"file://" + file + "2?checksum=sha256:" + sum(nil), ErrNotFound},
		{"file://" + pipe + "?checksum=sha256:" + sum(nil), ErrContent},
		{"file://" + dir + "?checksum=sha256:" + sum(nil), ErrContent},
		{"file:node?checksum=sha256:" + sum(nil), ErrInvalid},
		{"file://elsewhere/node?checksum=sha256:" + sum(nil), ErrInvalid},
	} {
		v := newVolume(t)
		_, err := v.get(Source{URL: tc.url})
		if tc.want == nil && err == nil {
			v.holds(t, content)
			continue
		}
		v.untouched(t, err, tc.want)
	}
}

func TestAbandonedDownloadsGo(t *testing.T) {
	t.Parallel()
	content := program(5000)
	s := serve(t, content, nil)
	v := newVolume(t)
	if err := os.MkdirAll(v.cfg.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	key := strings.Repeat("0", 32)
	for name, age := range map[string]time.Duration{key + ".part": 2 * abandoned, key + ".json": 0, "README.md": 2 * abandoned} {
		file := filepath.Join(v.cfg.Dir, name)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(content)}); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(v.cfg.Dir)
	if len(entries) != 2 || entries[0].Name() != key+".json" || entries[1].Name() != "README.md" {
		t.Errorf("want the young and the foreign kept, have %v", entries)
	}
}
