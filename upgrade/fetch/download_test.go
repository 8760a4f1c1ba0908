package fetch

import (
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
