package fetch

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// small is a volume on a file system of n bytes.
func small(t *testing.T, n string) volume {
	t.Helper()
	v := newVolume(t)
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size="+n); err != nil {
		t.Skipf("a full disk needs a mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	v.cfg.Dir, v.dest = filepath.Join(root, "fetch"), filepath.Join(root, "upgrades", "v2", "bin", "wemixd")
	return v
}

func TestFullDiskLeavesNothing(t *testing.T) {
	t.Parallel()
	content := program(3 << 20)
	archive := gz(t, makeTar(t, entry{name: "README", body: []byte("x")}, entry{name: "wemixd", body: make([]byte, 3<<20)}))
	chunked := func(_ int, w http.ResponseWriter, r *http.Request) bool {
		for i := 0; i < len(content); i += 64 << 10 {
			_, _ = w.Write(content[i:min(i+64<<10, len(content))])
			_ = http.NewResponseController(w).Flush()
		}
		return true
	}
	for _, tc := range []struct {
		name    string
		content []byte
		disturb func(int, http.ResponseWriter, *http.Request) bool
	}{
		{"announced", content, nil},
		{"not announced", content, chunked},
		{"when unpacked", archive, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := small(t, "2m")
			s := serve(t, tc.content, tc.disturb)
			_, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(tc.content)})
			v.untouched(t, err, unix.ENOSPC)
			if s.count() != 1 {
				t.Errorf("want no retry, have %d requests", s.count())
			}
			var st unix.Statfs_t
			if err := unix.Statfs(filepath.Dir(v.cfg.Dir), &st); err != nil || st.Blocks-st.Bfree > 2 {
				t.Errorf("want it all free again, have %d blocks used, %v", st.Blocks-st.Bfree, err)
			}
			t.Log(err)
		})
	}
}

func TestFullDiskWhileCopying(t *testing.T) {
	t.Parallel()
	v := small(t, "2m")
	file := filepath.Join(t.TempDir(), "node")
	if err := os.WriteFile(file, program(3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := v.get(Source{URL: "file://" + file, Checksum: "sha256:" + sum(program(3<<20))})
	v.untouched(t, err, unix.ENOSPC)
}

func TestAnotherFileSystemIsSaid(t *testing.T) {
	t.Parallel()
	v := small(t, "8m")
	other := newVolume(t)
	v.dest = other.dest
	content := program(5000)
	s := serve(t, content, nil)
	_, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(content)})
	if !errors.Is(err, unix.EXDEV) {
		t.Fatalf("want EXDEV, have %v", err)
	}
	v.clean(t)
}
