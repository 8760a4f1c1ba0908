package backup

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// coarse is a volume on a disk whose sectors are of 4 KiB: it refuses a direct read that
// is aligned to less.
func coarse(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting takes root")
	}
	dir := t.TempDir()
	image, mounted := filepath.Join(dir, "image"), filepath.Join(dir, "volume")
	if err := os.Mkdir(mounted, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "truncate", "-s", "128M", image)
	out, err := exec.Command("losetup", "--sector-size", "4096", "--direct-io=on", "-f", "--show", image).Output()
	if err != nil {
		if out, err = exec.Command("losetup", "--sector-size", "4096", "-f", "--show", image).Output(); err != nil {
			t.Skipf("no such disk here: %v", err)
		}
	}
	disk := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "-d", disk).Run() })
	run(t, "mkfs.ext4", "-q", disk)
	run(t, "mount", disk, mounted)
	t.Cleanup(func() { _ = unix.Unmount(mounted, unix.MNT_DETACH) })
	return mounted
}

// undirect is a file system that knows no direct reads at all.
func undirect(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("ramfs", dir, "ramfs", 0, ""); err != nil {
		t.Skipf("mounting takes root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// Where reads past the page cache are refused, or want more than our alignment, files
// are read as others are: what is archived, the archive that is read back, and pieces of
// it at any place.
func TestADiskThatRefusesDirectReads(t *testing.T) {
	t.Parallel()
	for name, disk := range map[string]func(*testing.T) string{"4 KiB sectors": coarse, "no direct reads": undirect} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := disk(t)
			root := filepath.Join(dir, "data")
			text := chainData(1, 5<<20+777)
			write(t, filepath.Join(root, "geth/000001.sst"), string(text))
			write(t, filepath.Join(root, "geth/000002.sst"), string(text[:directAbove+1]))
			write(t, filepath.Join(root, "geth/CURRENT"), "c")

			f, err := os.Open(filepath.Join(root, "geth/000001.sst"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			r := newDirectReader(f, int64(len(text)))
			if accepted := name == "4 KiB sectors"; r.direct != accepted {
				t.Errorf("want it turned on: %v, have %v", accepted, r.direct)
			}
			for _, at := range []int64{0, directAlign, 4096, 12345, int64(len(text)) - 2000} {
				n := min(2000, len(text)-int(at))
				have, err := r.piece(make([]byte, blocks(n)+2*directAlign), at, n)
				if err != nil || !bytes.Equal(have, text[at:int(at)+n]) {
					t.Errorf("%d bytes at %d: %v, the right ones: %v", n, at, err, err == nil)
				}
			}
			if r.direct {
				t.Error("want it turned off by a read that the disk refuses")
			}

			repo := NewRepo(RepoConfig{Dir: filepath.Join(dir, "backups"), Floor: noFloor})
			info := create(t, repo, root, CreateOptions{})
			if err := repo.Verify(ctx, info.ID, nil); err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(dir, "to")
			if _, err := repo.Extract(ctx, info.ID, to, ExtractOptions{}); err != nil {
				t.Fatal(err)
			}
			samePicture(t, picture(t, root), picture(t, to))
		})
	}
}
