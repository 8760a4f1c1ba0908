package backup

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMountPointsWithOddNames(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "with space,\ttab\\ and\nnewline")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	bind(t, t.TempDir(), dir)
	m, err := readMounts()
	if err != nil {
		t.Fatal(err)
	}
	if !m[dir] || m.below(filepath.Dir(dir)) != dir || m.below(dir) != "" {
		t.Errorf("%q is not known as a mount point", dir)
	}
}

// The data directory may be named by a symlink; mount points, and the identity, are
// known by real paths.
func TestTheDataDirectoryIsASymlink(t *testing.T) {
	t.Parallel()
	real := dataDir(t, t.TempDir())
	root := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(real, root); err != nil {
		t.Fatal(err)
	}
	before := image(t, real, true)
	s := snapshotter(root)
	snap := commit(t, s)
	runOn(t, root)
	if _, err := s.Rollback(ctx, snap.ID); err != nil {
		t.Fatal(err)
	}
	same(t, "live data", before, image(t, real, true))
}

// A journal that was tampered with, or rotted, moves nothing outside the data.
func FuzzSwapJournal(f *testing.F) {
	const id = "20261123T043012Z-000042-snapshot"
	f.Add([]byte(`{"version":1,"kind":"rollback","id":"x","from":"snapshots/a/tree","failed":"` + id + `","moves":[{"path":"geth/%FF","out":true}],"kept":["geth/nodekey"]}`))
	f.Add([]byte(`{"version":1,"from":"snapshots/..","failed":"` + id + `","moves":[{"path":"../../x"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		j, err := parseSwap("fuzz", text)
		if err != nil {
			return
		}
		for _, p := range j.paths() {
			if !filepath.IsLocal(string(p)) {
				t.Errorf("it names %q", p)
			}
		}
		at := &site{tree: Tree{Root: "/data"}, ours: "/data/" + ownFolder}
		left := at.exchange(j).leftover()
		if dir := filepath.Dir(left); dir != at.snapshots() && dir != at.incoming() {
			t.Errorf("it would set %q aside", left)
		}
	})
}
