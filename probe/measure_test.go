package probe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMeasureJudgesAsTheHealthCheckDoes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("no mounts here:", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if d, wrong := Measure(filepath.Join(dir, "not", "yet")); wrong != "" || d.Size != 1<<20 {
		t.Errorf("want an empty disk, have %+v %s", d, wrong)
	}
	if err := os.WriteFile(filepath.Join(dir, "fill"), make([]byte, 1<<20-8<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	d, wrong := Measure(dir)
	p := New(Config{})
	p.SetResources(Resources{Disks: []Disk{d}})
	if check := p.Health().Checks["disk"]; wrong == "" || check.Healthy || !strings.HasSuffix(check.Error, wrong) {
		t.Errorf("want the health check's words %q, have %q", check.Error, wrong)
	}
	if _, wrong := Measure("/dev/null/x"); wrong != "not a directory" {
		t.Errorf("want why it is not known, have %q", wrong)
	}
}
