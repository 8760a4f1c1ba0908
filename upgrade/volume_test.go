package upgrade

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test re-runs itself as a user who is not root: root may
// write anywhere.
func TestWritableNamesWhoMay(t *testing.T) {
	if dir := os.Getenv("WRITABLE_DIR"); dir != "" {
		for _, path := range []string{dir, filepath.Join(dir, "not", "yet")} {
			if err := Writable(path); err == nil || !strings.Contains(err.Error(), "not writable for 65532") {
				t.Errorf("%s: want it refused and why, have %v", path, err)
			}
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	dir := t.TempDir()
	open(t, dir)
	if err := Writable(filepath.Join(dir, "not", "yet")); err != nil {
		t.Errorf("want a place where we may make it, have %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Writable(file); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("want a file refused, have %v", err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(dir, "again") // where the other user may read it
	if err := os.WriteFile(again, self, 0o755); err != nil {
		t.Fatal(err)
	}
	who := []string{"setpriv", "--reuid=65532", "--regid=65532", "--clear-groups"}
	if out, err := output(append(who, again, "-test.run=^TestWritableNamesWhoMay$"), []string{"WRITABLE_DIR=" + dir}); err != nil {
		t.Fatalf("as another user: %v\n%s", err, out)
	}
}

// open lets everybody through to dir, for reading.
func open(t *testing.T, dir string) {
	t.Helper()
	for d := dir; d != filepath.Dir(d) && strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWritableNamesAReadOnlyMount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_RDONLY, "size=64k"); err != nil {
		t.Skip("no mounts here:", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	if err := Writable(dir); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("want the mount named, have %v", err)
	}
	if kind := Remote(dir); kind != "" {
		t.Errorf("want tmpfs taken for local, have %s", kind)
	}
}

func TestHeldLooksAndTakesNothing(t *testing.T) {
	t.Parallel()
	h := Home{Root: t.TempDir(), Name: "wemixd"}
	if h.Held() {
		t.Fatal("want an empty folder held by nobody")
	}
	lock, err := h.Lock(t.Context(), 0, ForRun)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Held() {
		t.Error("want it held")
	}
	lock.Close()
	if h.Held() {
		t.Error("want it free again")
	}
	if lock, err = h.Lock(t.Context(), time.Second, ForRun); err != nil {
		t.Fatalf("want nothing taken by the look, have %v", err)
	}
	lock.Close()
}
