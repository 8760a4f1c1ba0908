package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// child is what a test hands to the program it starts: one Get.
type child struct {
	Dir, URL, Checksum, Dest string
	AllowHTTP                bool
}

const (
	childEnv   = "FETCH_TEST_CHILD"
	timeoutEnv = "FETCH_TEST_TIMEOUT"
)

func TestMain(m *testing.M) {
	var c child
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &c); err != nil {
		goleak.VerifyTestMain(m)
		return
	}
	cfg := Config{Dir: c.Dir, AllowHTTP: c.AllowHTTP, Timeout: 10 * time.Second, Backoff: time.Millisecond}
	if d, err := time.ParseDuration(os.Getenv(timeoutEnv)); err == nil {
		cfg.Timeout = d
	}
	r, err := New(cfg).Get(context.Background(), Source{URL: c.URL, Checksum: c.Checksum}, c.Dest)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(r.SHA256)
}

// command makes this test binary the child.
func (c child) command(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, childEnv+"="+string(text))...)
	return cmd
}

// program is a binary of n bytes that nobody can compress.
func program(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	copy(b, "\x7fELF")
	return b
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// site serves one file, as told.
type site struct {
	*httptest.Server
	content []byte
	etag    string

	// disturb may answer in the place of the site: true when it did.
	disturb func(n int, w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	requests []*http.Request
}

func serve(t *testing.T, content []byte, disturb func(n int, w http.ResponseWriter, r *http.Request) bool) *site {
	t.Helper()
	s := &site{content: content, etag: `"one"`, disturb: disturb}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r)
	n, content, etag, disturb := len(s.requests), s.content, s.etag, s.disturb
	s.mu.Unlock()
	if etag != "" {
		w.Header().Set("ETag", etag)
	}
	if disturb != nil && disturb(n, w, r) {
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// change lets a test make another site of it.
func (s *site) change(to func(s *site)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to(s)
}

// ranges are the Range headers of all requests.
func (s *site) ranges() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, r := range s.requests {
		all = append(all, r.Header.Get("Range"))
	}
	return strings.Join(all, ",")
}

func (s *site) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// cut sends k bytes of the content that it announces in full, and hangs up.
func cut(content []byte, k int) func(int, http.ResponseWriter, *http.Request) bool {
	return func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n > 1 {
			return false
		}
		announce(w, content, k)
		panic(http.ErrAbortHandler)
	}
}

// announce sends the head of an answer with the content, and k bytes of it.
func announce(w http.ResponseWriter, content []byte, k int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(content[:k])
	_ = http.NewResponseController(w).Flush()
}

// volume is a place to fetch to.
type volume struct {
	cfg  Config
	dest string
}

func newVolume(t *testing.T) volume {
	t.Helper()
	root := t.TempDir()
	return volume{
		cfg:  Config{Dir: filepath.Join(root, "fetch"), Backoff: time.Millisecond, Idle: 10 * time.Second, Timeout: 20 * time.Second},
		dest: filepath.Join(root, "upgrades", "v2", "bin", "wemixd"),
	}
}

func (v volume) get(src Source) (Result, error) {
	return New(v.cfg).Get(context.Background(), src, v.dest)
}

// untouched fails when anything is at the destination, or left of the download.
func (v volume) untouched(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("want %v, have %v", want, err)
	}
	if err != nil && strings.ContainsRune(err.Error(), '\n') {
		t.Errorf("want one line, have %q", err)
	}
	v.clean(t)
	if _, err := os.Lstat(filepath.Dir(filepath.Dir(filepath.Dir(v.dest)))); err == nil {
		t.Error("want nothing at the destination, not even its folders")
	}
}

// clean fails when anything is left of the download.
func (v volume) clean(t *testing.T) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(v.cfg.Dir, "*")); len(left) > 0 {
		t.Errorf("want nothing left of the download, have %v", left)
	}
}

// holds fails unless the destination is an executable with that content.
func (v volume) holds(t *testing.T, content []byte) {
	t.Helper()
	have, err := os.ReadFile(v.dest)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content, have) {
		t.Fatalf("want %d bytes %.12s, have %d bytes %.12s", len(content), sum(content), len(have), sum(have))
	}
	for file := v.dest; filepath.Base(file) != "upgrades"; file = filepath.Dir(file) {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if have := info.Mode().Perm(); have != 0o755 {
			t.Errorf("want %s 0755, have %o", file, have)
		}
	}
	v.clean(t)
}
