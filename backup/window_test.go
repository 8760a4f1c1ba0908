package backup

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A node that was started by hand in the window holds its lock; geth's own and
// LevelDB's are by flock(2), Pebble's and RocksDB's by fcntl(2).
func TestANodeThatRunsIsNoticed(t *testing.T) {
	for name, lock := range map[string]func(f *os.File) error{
		"flock": func(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX) },
		"fcntl": func(f *os.File) error {
			return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := dataDir(t, t.TempDir())
			s := snapshotter(root)
			snap := commit(t, s)
			runOn(t, root)
			before := image(t, root, false)
			if _, err := s.Prepare(ctx); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(filepath.Join(root, "geth/chaindata/LOCK"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := lock(f); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Commit(ctx, "test", Origin{}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "geth/chaindata/LOCK") {
				t.Errorf("commit: want ErrInUse and the lock named, have %v", err)
			}
			if _, err := s.Rollback(ctx, snap.ID); !errors.Is(err, ErrInUse) {
				t.Errorf("rollback: want ErrInUse, have %v", err)
			}
			same(t, "live data", before, image(t, root, false))
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			want := image(t, root, true)
			second, err := s.Commit(ctx, "test", Origin{})
			if err != nil {
				t.Fatal(err)
			}
			same(t, "mirror", want, image(t, second.Root, true))
			if err := s.Verify(ctx, second.ID); err != nil {
				t.Error(err)
			}
			// What held them lets go: the node must be able to start.
			f, err = os.OpenFile(filepath.Join(root, "geth/chaindata/LOCK"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
				t.Errorf("the lock is still held: %v", err)
			}
		})
	}
}

func TestTwoAtOnceAreToldSo(t *testing.T) {
	root := dataDir(t, t.TempDir())
	a, b := snapshotter(root), snapshotter(root)
	snap := commit(t, a)
	_, end, err := a.begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"prepare": func() error { _, err := b.Prepare(ctx); return err }(),
		"drop":    b.Drop(ctx, snap.ID),
		"recover": func() error { _, err := b.Recover(ctx); return err }(),
	} {
		if !errors.Is(err, ErrBusy) {
			t.Errorf("%s: want ErrBusy, have %v", what, err)
		}
	}
	// In one process the second waits, no longer than it is told to.
	short, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := a.Prepare(short); !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, have %v", err)
	}
	end()
	if err := b.Drop(ctx, snap.ID); err != nil {
		t.Error(err)
	}
}

func TestATailThatGrewIsAppendedAndACutFileIsCopiedAnew(t *testing.T) {
	t.Parallel()
	root := dataDir(t, t.TempDir())
	const name = "geth/chaindata/ancient/chain/receipts.0007.cdat"
	head := filepath.Join(root, name)
	block := make([]byte, 1<<20)
	grow := func(n int) {
		t.Helper()
		f, err := os.OpenFile(head, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r := rand.New(rand.NewPCG(rand.Uint64(), 1))
		for range n {
			for i := 0; i < len(block); i += 512 {
				binary.LittleEndian.PutUint64(block[i:], r.Uint64())
			}
			if _, err := f.Write(block); err != nil {
				t.Fatal(err)
			}
		}
	}
	grow(70)
	staged := func() Entry {
		t.Helper()
		e, err := lookAt(filepath.Join(root, ownFolder, "snapshots/.next/tree"), name, Append)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	s := snapshotter(root)
	p, err := s.Prepare(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if p.Staged < 70<<20 || p.ToCopy > 10<<20 {
		t.Errorf("want 70 MiB staged, have %+v", p)
	}
	first := staged()
	grow(3)
	if _, err := s.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	if second := staged(); second.Ino != first.Ino || second.Size != 73<<20 {
		t.Errorf("want the tail appended to inode %d, have inode %d of %d bytes", first.Ino, second.Ino, second.Size)
	}
	grow(2)
	want := sum(t, head)
	snap, err := s.Commit(ctx, "test", Origin{})
	if err != nil {
		t.Fatal(err)
	}
	have, err := lookAt(snap.Root, name, Append)
	if err != nil || have.Ino != first.Ino {
		t.Errorf("want the tail appended in the window, have a new file (%v)", err)
	}
	if string(sum(t, filepath.Join(snap.Root, name))) != string(want) {
		t.Error("the staged copy differs")
	}
	if snap.Copied > 15<<20 {
		t.Errorf("want only the tail copied in the window, have %d bytes", snap.Copied)
	}

	// Cut and grown beyond where it was, as by debug_setHead and a new branch.
	if _, err := s.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	first = staged()
	if err := os.Truncate(head, 71<<20); err != nil {
		t.Fatal(err)
	}
	grow(10)
	want = sum(t, head)
	if snap, err = s.Commit(ctx, "test", Origin{}); err != nil {
		t.Fatal(err)
	}
	if string(sum(t, filepath.Join(snap.Root, name))) != string(want) {
		t.Error("after a cut the copy is of two branches")
	}
}

// While the node runs, files come, grow and go; the snapshot is what was there at
// the stop.
func TestPrepareWhileTheNodeWrites(t *testing.T) {
	t.Parallel()
	root := dataDir(t, t.TempDir())
	store := filepath.Join(root, "geth/chaindata")
	s := snapshotter(root)
	stop := make(chan struct{})
	var node sync.WaitGroup
	node.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			dir := filepath.Join(store, fmt.Sprint("dir", n%5))
			_ = os.MkdirAll(dir, 0o755)
			_ = os.WriteFile(filepath.Join(dir, "x.log"), make([]byte, n%5000), 0o644)
			_ = os.WriteFile(filepath.Join(store, fmt.Sprintf("%06d.sst", 1000+n)), make([]byte, 100+n%3000), 0o644)
			_ = appendTo(filepath.Join(store, fmt.Sprintf("%06d.sst", 1000+n-1)), "more")
			_ = os.Remove(filepath.Join(store, fmt.Sprintf("%06d.sst", 1000+n-20)))
			_ = os.RemoveAll(filepath.Join(store, fmt.Sprint("dir", (n+2)%5)))
		}
	})
	for range 60 {
		if _, err := s.Prepare(ctx); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	node.Wait()
	before := image(t, root, true)
	snap, err := s.Commit(ctx, "test", Origin{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "mirror", before, image(t, snap.Root, true))
	if err := s.Verify(ctx, snap.ID); err != nil {
		t.Error(err)
	}
}

func TestAnExternalFreezerForbidsARollback(t *testing.T) {
	t.Parallel()
	for name, external := range map[string]func(root, out string) []string{
		"by argument": func(_, out string) []string { return []string{out} },
		"by symlink": func(root, out string) []string {
			ancient := filepath.Join(root, "geth/chaindata/ancient")
			if err := errors.Join(os.RemoveAll(ancient), os.Symlink(out, ancient)); err != nil {
				t.Fatal(err)
			}
			return nil
		},
		"inside the tree after all": func(root, _ string) []string { return []string{filepath.Join(root, "geth/chaindata/ancient")} },
	} {
		t.Run(name, func(t *testing.T) {
			root, out := dataDir(t, t.TempDir()), t.TempDir()
			write(t, filepath.Join(out, "chain/bodies.0000.cdat"), "x")
			paths := external(root, out)
			s := NewSnapshotter(SnapshotterConfig{Tree: Tree{Root: root}, Floor: noFloor, External: func() []string { return paths }})
			snap := commit(t, s)
			_, err := s.Rollback(ctx, snap.ID)
			if strings.HasPrefix(name, "inside") {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrPartial) || snap.Partial == "" {
				t.Errorf("want ErrPartial, have %v (%q)", err, snap.Partial)
			}
			if !exists(filepath.Join(out, "chain/bodies.0000.cdat")) {
				t.Error("the freezer was touched")
			}
		})
	}
}

// A lost key forbids the start, whoever asks and how often, until it is back or somebody
// says that it need not be.
func TestALostKeyForbidsTheStart(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"put back", "given up"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			root := dataDir(t, t.TempDir())
			before := image(t, root, true)
			s := snapshotter(root)
			snap := commit(t, s)
			runOn(t, root)
			if err := errors.Join(os.Remove(filepath.Join(root, "geth/nodekey")), os.Remove(filepath.Join(root, "upgrade-info.json"))); err != nil {
				t.Fatal(err)
			}
			forbidden := func(when string, err error) {
				t.Helper()
				if !errors.Is(err, ErrIdentity) || !strings.Contains(err.Error(), "geth/nodekey") || strings.Contains(err.Error(), "upgrade-info") {
					t.Errorf("%s: want ErrIdentity for the key alone, have %v", when, err)
				}
			}
			_, err := s.Rollback(ctx, snap.ID)
			forbidden("the rollback", err)
			same(t, "live data", before, image(t, root, true))
			for range 2 {
				s = snapshotter(root)
				_, err = s.Recover(ctx)
				forbidden("the next start", err)
				forbidden("the next start", s.Identity())
			}
			// A snapshot of the data as it is now does not make it whole.
			back := commit(t, s)
			_, err = s.Rollback(ctx, back.ID)
			forbidden("another rollback", err)
			if way == "put back" {
				write(t, filepath.Join(root, "geth/nodekey"), "key")
			} else if err := os.Remove(filepath.Join(root, ownFolder, "identity-missing.json")); err != nil {
				t.Fatal(err)
			}
			if err := s.Identity(); err != nil {
				t.Errorf("then: %v", err)
			}
			if _, err := snapshotter(root).Recover(ctx); err != nil {
				t.Errorf("then: %v", err)
			}
			if exists(filepath.Join(root, ownFolder, "identity-missing.json")) {
				t.Error("the hold is left over")
			}
		})
	}
}

// A swap that cannot be finished is undone: the node starts on what it had.
func TestASwapThatCannotBeFinishedIsUndone(t *testing.T) {
	t.Parallel()
	root := dataDir(t, t.TempDir())
	s := snapshotter(root)
	snap := commit(t, s)
	runOn(t, root)
	before := image(t, root, false)
	stuck := filepath.Join(root, "new at the root") // the last to be moved
	run(t, "chattr", "+i", stuck)
	t.Cleanup(func() { _ = exec.Command("chattr", "-i", stuck).Run() })
	_, err := s.Rollback(ctx, snap.ID)
	if !errors.Is(err, unix.EPERM) || errors.Is(err, ErrUnfinished) {
		t.Fatalf("want EPERM and no half swap, have %v", err)
	}
	same(t, "live data", before, image(t, root, false))
	if failed, err := s.Failed(); err != nil || len(failed) > 0 {
		t.Errorf("want nothing left in failed, have %q, %v", failed, err)
	}
	if err := s.Verify(ctx, snap.ID); err != nil {
		t.Error(err)
	}
	run(t, "chattr", "-i", stuck)
	if _, err := s.Rollback(ctx, snap.ID); err != nil {
		t.Errorf("once it can be finished: %v", err)
	}
}

// The data directory may be the home itself: what is ours lies in it, and stays.
func TestTheDataDirectoryIsTheHome(t *testing.T) {
	t.Parallel()
	root := dataDir(t, t.TempDir())
	before := image(t, root, true)
	write(t, filepath.Join(root, "wemixvisor/journal.json"), "1")
	write(t, filepath.Join(root, "backups/x/data.tar.zst"), "1")
	write(t, filepath.Join(root, "geth/archives/x"), "1") // and some may lie deeper
	own := []string{filepath.Join(root, "wemixvisor"), filepath.Join(root, "backups"), filepath.Join(root, "geth/archives")}
	s := NewSnapshotter(SnapshotterConfig{Tree: Tree{Root: root, Own: own}, Floor: noFloor})
	snap := commit(t, s)
	if err := os.Chtimes(filepath.Join(snap.Root, "geth"), unixTime(before["geth"]), unixTime(before["geth"])); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "wemixvisor/journal.json"), "2")
	runOn(t, root)
	if _, err := s.Rollback(ctx, snap.ID); err != nil {
		t.Fatal(err)
	}
	have := image(t, root, true)
	for p := range have {
		for _, o := range []string{"wemixvisor", "backups", "geth/archives"} {
			if p == o || strings.HasPrefix(p, o+"/") {
				delete(have, p)
			}
		}
	}
	same(t, "live data", before, have)
	if text, _ := os.ReadFile(filepath.Join(root, "wemixvisor/journal.json")); string(text) != "2" {
		t.Errorf("our journal went back: %q", text)
	}
	if !exists(filepath.Join(root, "geth/archives/x")) || !exists(filepath.Join(root, "backups/x/data.tar.zst")) {
		t.Error("the repository was moved")
	}
}

func TestReplaceAnEmptyVolume(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := snapshotter(root)
	in, err := s.Incoming()
	if err != nil {
		t.Fatal(err)
	}
	const id = "20260101T000000Z-000003-full"
	made := dataDir(t, t.TempDir())
	before := image(t, made, false)
	run(t, "cp", "-a", "--sparse=always", made, filepath.Join(in, id))
	if err := s.Replace(ctx, made, id); err == nil {
		t.Error("a tree from elsewhere was taken")
	}
	if err := s.Replace(ctx, filepath.Join(in, id), id); err != nil {
		t.Fatal(err)
	}
	have := image(t, root, false)
	same(t, "live data", before, have)
	// Once more, over what is there: the identity does not come in, and both sets of
	// data that went have names of their own.
	for range 2 {
		if err := os.MkdirAll(in, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(in, id, "geth/nodekey"), "another's key")
		write(t, filepath.Join(in, id, "geth/chaindata/CURRENT"), "restored")
		if err := s.Replace(ctx, filepath.Join(in, id), id); err != nil {
			t.Fatal(err)
		}
	}
	have = image(t, root, false)
	if have["geth/nodekey"] != before["geth/nodekey"] || have["geth/chaindata/000010.sst"] != "" {
		t.Errorf("want the old key and the new data, have %q", have["geth/nodekey"])
	}
	if failed, err := s.Failed(); err != nil || len(failed) != 3 {
		t.Errorf("want three sets of failed data, have %q, %v", failed, err)
	}
}
