package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

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
	v.waitFor(t, int64(k))
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

// waitFor waits until n bytes have arrived.
func (v volume) waitFor(t *testing.T, n int64) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		parts, _ := filepath.Glob(filepath.Join(v.cfg.Dir, "*.part"))
		if len(parts) != 1 {
			continue
		}
		if info, err := os.Stat(parts[0]); err == nil && info.Size() == n {
			return
		}
	}
	t.Fatalf("waited in vain for %d bytes", n)
}

func TestLaterGetGoesOnWhereTheFirstEnded(t *testing.T) {
	t.Parallel()
	content, other := program(400_000), slices.Concat([]byte("\x7fELF other"), program(400_000)[10:])
	for _, tc := range []struct {
		name   string
		change func(s *site, part string)
		want   []byte
		ranges string
		why    string // it was tried again
	}{
		{"the same file", func(*site, string) {}, content, ",bytes=150000-", ""},
		{"another tag", func(s *site, _ string) { s.etag = `"two"` }, content, ",bytes=150000-", ""},
		{
			"another tag, another file",
			func(s *site, _ string) { s.etag, s.content = `"two"`, other }, other, ",bytes=150000-", "",
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
			other, ",bytes=150000-,", "changed",
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
			content, ",bytes=10-,", "not asked for",
		},
		{
			"a server without ranges",
			func(s *site, _ string) {
				s.disturb = func(_ int, w http.ResponseWriter, r *http.Request) bool {
					_, _ = w.Write(content)
					return true
				}
			},
			content, ",bytes=150000-", "",
		},
		{
			"the file became shorter",
			func(s *site, _ string) {
				s.content, s.disturb = other[:1000], func(_ int, w http.ResponseWriter, r *http.Request) bool {
					r.Header.Del("If-Range")
					return false
				}
			},
			other[:1000], ",bytes=150000-,", "another by now",
		},
		{
			"a beginning that a power cut spoiled",
			func(_ *site, part string) { overwrite(t, part, 777) }, content, ",bytes=150000-,", "",
		},
		{
			"a record that a power cut spoiled",
			func(_ *site, part string) {
				if err := os.Truncate(strings.TrimSuffix(part, "part")+"json", 0); err != nil {
					t.Error(err)
				}
			},
			content, ",", "",
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
			var why string
			v.cfg.OnRetry = func(err error, _ time.Duration) { why += err.Error() }
			_, err := v.get(src)
			if !strings.Contains(why, tc.why) || why != "" && tc.why == "" {
				t.Errorf("want a retry for %q, have %q", tc.why, why)
			}
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

func TestLengthThatNobodyTold(t *testing.T) {
	t.Parallel()
	content := program(100_000)
	for _, tc := range []struct {
		name   string
		later  []byte
		ranges string
	}{
		{"all was here", content, ",bytes=100000-"},
		{"it became shorter", content[:5000], ",bytes=100000-,"},
	} {
		s := serve(t, content, nil)
		v := newVolume(t)
		ctx, cancel := context.WithCancel(context.Background())
		s.disturb = func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				_, _ = w.Write(content)
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return true
			}
			r.Header.Del("If-Range")
			return false
		}
		v.cfg.OnProgress = func(p Progress) {
			if p.Done == int64(len(content)) {
				cancel()
			}
		}
		v.cfg.Idle = time.Second // the last bytes may come too soon after others to be told of
		src := Source{URL: s.URL, Checksum: "sha256:" + sum(content)}
		if _, err := New(v.cfg).Get(ctx, src, v.dest); !errors.Is(err, context.Canceled) {
			t.Fatalf("want context.Canceled, have %v", err)
		}
		s.change(func(s *site) { s.content = tc.later })
		_, err := v.get(src)
		if have := s.ranges(); tc.ranges != have {
			t.Errorf("%s: want ranges %q, have %q", tc.name, tc.ranges, have)
		}
		if len(tc.later) < len(content) {
			v.untouched(t, err, ErrChecksum)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		v.holds(t, content)
	}
}

func TestBrokenPromiseInPiecesIsTriedTwice(t *testing.T) {
	t.Parallel()
	content := program(10_000)
	s := serve(t, content, func(n int, w http.ResponseWriter, r *http.Request) bool {
		return n%2 == 1 && cut(content, 1000)(1, w, r)
	})
	v := newVolume(t)
	_, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(nil)})
	v.untouched(t, err, ErrChecksum)
	if want, have := ",bytes=1000-,,bytes=1000-", s.ranges(); want != have {
		t.Errorf("want ranges %q, have %q", want, have)
	}
}
