package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestManySmallFilesAreArchived(t *testing.T) {
	t.Parallel()
	n := 2000
	if long() {
		n = 100_000
	}
	root := t.TempDir()
	for i := range n {
		if i%1000 == 0 {
			if err := os.MkdirAll(filepath.Join(root, fmt.Sprint(i/1000)), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(root, fmt.Sprint(i/1000), fmt.Sprint(i)), []byte(fmt.Sprint("file ", i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := newRepo(t)
	info := create(t, r, root, CreateOptions{})
	if info.Files != int64(n) {
		t.Errorf("want %d files, have %d", n, info.Files)
	}
	samePicture(t, picture(t, root), picture(t, extract(t, r, info.ID, ExtractOptions{})))
}

// Over 4 GiB a size does not fit in 32 bits, and over 8 GiB not in a tar's old
// header.
func TestALargeFileIsArchived(t *testing.T) {
	t.Parallel()
	size := int64(4<<30 + 4<<20 + 17)
	if !long() {
		t.Skip("WEMIXVISOR_LONG is not set")
	}
	root := t.TempDir()
	for name, size := range map[string]int64{"4": size, "8": 2*size + 1} {
		f, err := os.Create(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int64{0, 1 << 31, 1<<32 - 3, size - 4} {
			if _, err := f.WriteAt([]byte("data"), at); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r := newRepo(t)
	info := create(t, r, root, CreateOptions{})
	to := extract(t, r, info.ID, ExtractOptions{})
	samePicture(t, picture(t, root), picture(t, to))
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(to, "8"), &st); err != nil || st.Blocks > 200 {
		t.Errorf("the holes take %d blocks, %v", st.Blocks, err)
	}
}
