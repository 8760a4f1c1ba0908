package backup

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestSnapshotAndRollbackAreIdentical(t *testing.T) {
	t.Parallel()
	root := dataDir(t, t.TempDir())
	before := image(t, root, true)
	s := snapshotter(root)
	snap := commit(t, s)
	if snap.Method != ByLink || snap.Partial != "" || len(snap.Warnings) > 0 {
		t.Errorf("want a plain snapshot by links, have %+v", snap)
	}
	same(t, "mirror", before, image(t, snap.Root, true))
	same(t, "live data after the commit", before, image(t, root, true))

	runOn(t, root)
	failed := image(t, root, true)
	kept := image(t, root, false)
	same(t, "mirror after the node ran on", before, image(t, snap.Root, true))
	back, err := s.Rollback(ctx, snap.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "live data after the rollback", before, image(t, root, true))
	same(t, "failed data", failed, image(t, filepath.Join(root, ownFolder, "failed", back.Failed), true))
	after := image(t, root, false)
	for _, p := range []string{"geth/nodekey", "keystore", "keystore/UTC--2026-01-01T00-00-00Z--aa", "upgrade-info.json", "upgrades/100/upgrade-info.json", "geth/LOCK"} {
		if kept[p] == "" || after[p] != kept[p] {
			t.Errorf("%s: want %q, have %q", p, kept[p], after[p])
		}
	}
	if back.Origin.Height != 7 || back.ID != snap.ID || !slices.Contains(back.Kept, "geth/nodekey") {
		t.Errorf("rolled back: %+v", back)
	}
	if all, err := s.List(); err != nil || len(all) != 0 {
		t.Errorf("want the snapshot used up, have %v, %v", all, err)
	}
	if err := s.DropFailed(ctx, back.Failed); err != nil {
		t.Error(err)
	}
	same(t, "live data after the failed data went", before, image(t, root, true))
}

func TestWhatCameAfterPrepareIsInTheSnapshot(t *testing.T) {
	t.Parallel()
	root := dataDir(t, t.TempDir())
	s := snapshotter(root)
	for range 2 {
		if _, err := s.Prepare(ctx); err != nil {
			t.Fatal(err)
		}
	}
	runOn(t, root)
	store := filepath.Join(root, "geth", "chaindata")
	// A name used again for another file, as goleveldb does; a table that was still
	// being written when it was linked; a folder that became a file.
	for _, err := range []error{
		os.Remove(filepath.Join(store, "000013.sst")),
		os.WriteFile(filepath.Join(store, "000013.sst"), []byte("another file"), 0o644),
		appendTo(filepath.Join(store, "000014.sst"), "the rest of it"),
		os.RemoveAll(filepath.Join(root, "geth", "odd")),
		os.WriteFile(filepath.Join(root, "geth", "odd"), []byte("a file now"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before := image(t, root, true)
	snap, err := s.Commit(ctx, "test", Origin{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "mirror", before, image(t, snap.Root, true))
	if err := s.Verify(ctx, snap.ID); err != nil {
		t.Error(err)
	}
	var total int64
	_, err = Tree{Root: snap.Root}.Walk(ctx, func(e Entry) error {
		if e.Mode.IsRegular() {
			total += e.Size
		}
		return nil
	})
	if err != nil || total != snap.Bytes {
		t.Errorf("want %d bytes, have %d (%v)", total, snap.Bytes, err)
	}
}

func TestCommitWithoutPrepare(t *testing.T) {
	t.Parallel()
	root := dataDir(t, t.TempDir())
	before := image(t, root, true)
	snap, err := snapshotter(root).Commit(ctx, "test", Origin{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "mirror", before, image(t, snap.Root, true))
}

// The head of a freezer is cut in place by debug_setHead, and a log is recycled:
// neither may share its inode with a snapshot.
func TestNothingMutableIsLinked(t *testing.T) {
	t.Parallel()
	root := dataDir(t, t.TempDir())
	snap := commit(t, snapshotter(root))
	_, err := Tree{Root: root}.Walk(ctx, func(e Entry) error {
		if !e.Mode.IsRegular() || e.Class == Keep {
			return nil
		}
		m, err := lookAt(snap.Root, e.Path, e.Class)
		if err != nil {
			return err
		}
		linked := e.Class == Immutable || e.Class == Sealed
		if (m.Ino == e.Ino) != linked {
			t.Errorf("%s (%s): shares its inode: %v", e.Path, e.Class, m.Ino == e.Ino)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// After a cut below its start, a sealed file is the newest again, and is cut too.
func TestASealedFileThatIsTheNewestAgainIsCopied(t *testing.T) {
	t.Parallel()
	root := dataDir(t, t.TempDir())
	s := snapshotter(root)
	if _, err := s.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	ancient := filepath.Join(root, "geth/chaindata/ancient/chain")
	for _, err := range []error{os.Remove(filepath.Join(ancient, "bodies.0002.cdat")), os.Truncate(filepath.Join(ancient, "bodies.0001.cdat"), 99)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before := image(t, root, true)
	snap, err := s.Commit(ctx, "test", Origin{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(ancient, "bodies.0001.cdat"), 1); err != nil {
		t.Fatal(err)
	}
	same(t, "mirror", before, image(t, snap.Root, true))
	if err := s.Verify(ctx, snap.ID); err != nil {
		t.Error(err)
	}
}

func TestALinkedFileThatIsEditedInPlaceIsNoticed(t *testing.T) {
	t.Parallel()
	root := dataDir(t, t.TempDir())
	s := snapshotter(root)
	snap := commit(t, s)
	table := filepath.Join(root, "geth/chaindata/000015.sst")
	if err := overwrite(table, "a hook was here"); err != nil {
		t.Fatal(err)
	}
	before := image(t, root, false)
	if err := s.Verify(ctx, snap.ID); !errors.Is(err, ErrChanged) {
		t.Errorf("verify: want ErrChanged, have %v", err)
	}
	if _, err := s.Rollback(ctx, snap.ID); !errors.Is(err, ErrChanged) {
		t.Errorf("rollback: want ErrChanged, have %v", err)
	}
	same(t, "live data", before, image(t, root, false))
}

func TestADamagedSnapshotIsNotGoneBackTo(t *testing.T) {
	t.Parallel()
	for what, damage := range map[string]func(folder string) error{
		"a copy is missing":   func(f string) error { return os.Remove(filepath.Join(f, "tree/geth/chaindata/CURRENT")) },
		"a link is missing":   func(f string) error { return os.Remove(filepath.Join(f, "tree/geth/chaindata/000015.sst")) },
		"a copy is cut":       func(f string) error { return os.Truncate(filepath.Join(f, "tree/geth/chaindata/MANIFEST-000001"), 3) },
		"a ledger is cut":     func(f string) error { return os.Truncate(filepath.Join(f, ledgerFirst), 300) },
		"a ledger is missing": func(f string) error { return os.Remove(filepath.Join(f, ledgerSecond)) },
		"it is of another id": func(f string) error {
			return os.WriteFile(filepath.Join(f, snapshotFile), []byte(`{"version":1,"id":"20261123T043012Z-000042-snapshot"}`), 0o600)
		},
		"it is no JSON": func(f string) error { return os.WriteFile(filepath.Join(f, snapshotFile), []byte(`{`), 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			root := dataDir(t, t.TempDir())
			s := snapshotter(root)
			snap := commit(t, s)
			if err := damage(filepath.Dir(snap.Root)); err != nil {
				t.Fatal(err)
			}
			before := image(t, root, false)
			if _, err := s.Rollback(ctx, snap.ID); !errors.Is(err, ErrCorrupt) {
				t.Errorf("want ErrCorrupt, have %v", err)
			}
			same(t, "live data", before, image(t, root, false))
			if err := s.Drop(ctx, snap.ID); err != nil {
				t.Errorf("drop: %v", err)
			}
		})
	}
}

func TestListIsNewestFirstWithTheClockAYearBack(t *testing.T) {
	t.Parallel()
	root := dataDir(t, t.TempDir())
	now := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	s := NewSnapshotter(SnapshotterConfig{Tree: Tree{Root: root}, Floor: noFloor, Now: func() time.Time { return now }})
	first := commit(t, s)
	now = now.AddDate(-1, 0, 0)
	second := commit(t, s)
	all, err := s.List()
	if err != nil || len(all) != 2 || all[0].ID != second.ID || all[1].ID != first.ID {
		t.Fatalf("want %s, %s, have %+v, %v", second.ID, first.ID, all, err)
	}
	if err := s.Drop(ctx, second.ID); err != nil {
		t.Fatal(err)
	}
	if third := commit(t, s); NextSequence([]string{third.ID}) != NextSequence([]string{second.ID}) {
		t.Errorf("want the number free again, have %s after %s", third.ID, second.ID)
	}
	if err := s.Drop(ctx, second.ID+"x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("want ErrNotFound, have %v", err)
	}
	if err := s.Drop(ctx, "../../geth"); !errors.Is(err, ErrNotFound) {
		t.Errorf("want ErrNotFound, have %v", err)
	}
}

func FuzzLedger(f *testing.F) {
	f.Add([]byte("link 1 2 3 \"a/b\"\nend 1\n"))
	f.Add([]byte("copy 0 2 3 \"\\xff\\n\"\ngone 0 0 0 \"x\"\nend 2\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		n := 0
		err := scanLedger("fuzz", bytes.NewReader(text), func(l ledgerLine) error {
			if n++; filepath.IsAbs(l.path) {
				t.Errorf("an absolute path: %q", l.path)
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("want ErrCorrupt, have %v", err)
		}
	})
}
