package backup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// run runs a command of the system, or skips the test where that cannot be.
func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("no %s here", name)
	}
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Skipf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// volume makes a file system in a file and mounts it.
func volume(t testing.TB, kind, size string, mkfs ...string) (mounted, image string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting takes root")
	}
	dir := t.TempDir()
	mounted, image = filepath.Join(dir, "volume"), filepath.Join(dir, "image")
	if err := os.Mkdir(mounted, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "truncate", "-s", size, image)
	run(t, "mkfs."+kind, append(mkfs, "-q", image)...)
	run(t, "mount", "-o", "loop", image, mounted)
	t.Cleanup(func() { _ = unix.Unmount(mounted, unix.MNT_DETACH) })
	return mounted, image
}

func bind(t testing.TB, from, to string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting takes root")
	}
	run(t, "mount", "--bind", from, to)
	t.Cleanup(func() { _ = unix.Unmount(to, unix.MNT_DETACH) })
}

// fill leaves next to nothing free.
func fill(t testing.TB, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, err = f.Write(make([]byte, 1<<20)); err == nil; {
		_, err = f.Write(make([]byte, 1<<20))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

// The root of the data may be a mount point, which cannot be renamed, with the file
// system's own folder in it; where there are reflinks, they are used.
func TestOnOtherFileSystems(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		kind, size string
		reflinks   bool
	}{{"ext4", "64M", false}, {"xfs", "320M", true}, {"btrfs", "256M", true}} {
		t.Run(tc.kind, func(t *testing.T) {
			root, _ := volume(t, tc.kind, tc.size)
			made := dataDir(t, t.TempDir())
			run(t, "cp", "-a", "--sparse=always", made+"/.", root)
			before := image(t, root, true)
			s := snapshotter(root)
			if _, err := s.Prepare(ctx); err != nil {
				t.Fatal(err)
			}
			d := s.next
			snap, err := s.Commit(ctx, "test", Origin{})
			if err != nil {
				t.Fatal(err)
			}
			if have := d.copier.cloned.Load() > 0; have != tc.reflinks {
				t.Errorf("want reflinks: %v, have %d", tc.reflinks, d.copier.cloned.Load())
			}
			same(t, "mirror", before, image(t, snap.Root, true))
			runOn(t, root)
			if _, err := s.Rollback(ctx, snap.ID); err != nil {
				t.Fatal(err)
			}
			same(t, "live data", before, image(t, root, true))
		})
	}
}

func TestNoSpaceLeavesNoTrace(t *testing.T) {
	t.Parallel()
	root, _ := volume(t, "ext4", "64M", "-N", "400")
	made := dataDir(t, t.TempDir())
	run(t, "cp", "-a", "--sparse=always", made+"/.", root)
	run(t, "truncate", "-s", "2M", filepath.Join(root, "geth/odd/sparse"))
	before := image(t, root, false)
	trace := func(when string) {
		t.Helper()
		same(t, when+": live data", before, image(t, root, false))
		entries, _ := os.ReadDir(filepath.Join(root, ownFolder, "snapshots"))
		failed, _ := os.ReadDir(filepath.Join(root, ownFolder, "failed"))
		for _, e := range append(entries, failed...) {
			if _, _, _, ok := ParseID(e.Name()); !ok {
				t.Errorf("%s: %s is left over", when, e.Name())
			}
		}
	}
	t.Run("the floor", func(t *testing.T) {
		s := NewSnapshotter(SnapshotterConfig{Tree: Tree{Root: root}})
		_, err := s.Prepare(ctx)
		if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "1024 MiB") || !strings.Contains(err.Error(), "are needed") {
			t.Errorf("want ErrNoSpace with the figures, have %v", err)
		}
		trace("prepare")
	})
	s := snapshotter(root)
	t.Run("gone in the window", func(t *testing.T) {
		if _, err := s.Prepare(ctx); err != nil {
			t.Fatal(err)
		}
		fill(t, root)
		before = image(t, root, false)
		if _, err := s.Commit(ctx, "test", Origin{}); !errors.Is(err, ErrNoSpace) {
			t.Errorf("want ErrNoSpace, have %v", err)
		}
		trace("commit")
		if err := os.Remove(filepath.Join(root, "filler")); err != nil {
			t.Fatal(err)
		}
		before = image(t, root, false)
	})
	if _, err := s.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Commit(ctx, "test", Origin{})
	if err != nil {
		t.Fatal(err)
	}
	// With the inodes gone the kernel itself says so, in the middle of the work.
	hoard := filepath.Join(root, "hoard")
	if err := os.Mkdir(hoard, 0o755); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		if err := os.WriteFile(filepath.Join(hoard, fmt.Sprint(n)), nil, 0o600); err != nil {
			break
		}
	}
	before = image(t, root, false)
	t.Run("no inodes", func(t *testing.T) {
		for left := range 6 { // after each of the first folders and files that are made
			if err := os.Remove(filepath.Join(hoard, fmt.Sprint(left))); err != nil {
				t.Fatal(err)
			}
			before = image(t, root, false)
			_, err := s.Prepare(ctx)
			if err == nil {
				_, err = s.Commit(ctx, "test", Origin{})
			}
			if !errors.Is(err, ErrNoSpace) {
				t.Fatalf("%d inodes left: want ErrNoSpace, have %v", left+1, err)
			}
			trace(fmt.Sprintf("%d inodes left", left+1))
		}
	})
	t.Run("a recovery", func(t *testing.T) {
		if _, err := s.Recover(ctx); err != nil {
			t.Errorf("a full volume: %v", err)
		}
		trace("recovery")
	})
	t.Run("a rollback", func(t *testing.T) {
		for n := range 6 {
			if err := os.WriteFile(filepath.Join(hoard, fmt.Sprint(n)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before = image(t, root, false)
		_, err := s.Rollback(ctx, snap.ID)
		if !errors.Is(err, ErrNoSpace) {
			t.Fatalf("want ErrNoSpace, have %v", err)
		}
		trace("rollback")
		if err := s.Verify(ctx, snap.ID); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(hoard); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Rollback(ctx, snap.ID); err != nil {
			t.Errorf("with room again: %v", err)
		}
	})
}

func TestReadOnlyVolume(t *testing.T) {
	t.Parallel()
	root, _ := volume(t, "ext4", "32M")
	write(t, filepath.Join(root, "geth/chaindata/000001.sst"), "x")
	snap := commit(t, snapshotter(root))
	run(t, "mount", "-o", "remount,ro", root)
	s := snapshotter(root)
	if _, err := s.Prepare(ctx); !errors.Is(err, unix.EROFS) {
		t.Errorf("prepare: want EROFS, have %v", err)
	}
	if _, err := s.Rollback(ctx, snap.ID); !errors.Is(err, unix.EROFS) {
		t.Errorf("rollback: want EROFS, have %v", err)
	}
	if all, err := s.List(); err != nil || len(all) != 1 {
		t.Errorf("list: want the one, have %v, %v", all, err)
	}
	if err := s.Verify(ctx, snap.ID); err != nil {
		t.Error(err)
	}
}

// A block that has rotted gives EIO, where its file system keeps checksums: no
// snapshot comes of it, and none is lost.
func TestBrokenDisk(t *testing.T) {
	t.Parallel()
	root, disk := volume(t, "btrfs", "256M")
	made := dataDir(t, t.TempDir())
	run(t, "cp", "-a", "--sparse=always", made+"/.", root)
	mark := strings.Repeat("this block will rot. ", 1000)
	write(t, filepath.Join(root, "geth/chaindata/000099.log"), mark)
	s := snapshotter(root)
	good := commit(t, s)
	unix.Sync()
	text, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	rotten := strings.Index(string(text), mark[:4096])
	if rotten < 0 {
		t.Fatal("the block was not found on the disk")
	}

	if err := overwriteAt(disk, int64(rotten)+100, "\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		t.Skipf("the cache cannot be dropped: %v", err)
	}
	if _, err := s.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	// Else its blocks would be shared, and not even looked at: between files with and
	// without checksums they cannot be.
	run(t, "chattr", "+C", s.next.mirror("geth/chaindata"))
	if _, err := s.Commit(ctx, "test", Origin{}); !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), "000099.log") {
		t.Errorf("want EIO and the file named, have %v", err)
	}
	if all, err := s.List(); err != nil || len(all) != 1 || all[0].ID != good.ID {
		t.Errorf("want the good one alone, have %+v, %v", all, err)
	}
	if exists(filepath.Join(root, ownFolder, "snapshots/.next")) {
		t.Error("the broken one is left over")
	}
}

func TestNestedMount(t *testing.T) {
	t.Parallel()
	t.Run("of data", func(t *testing.T) {
		root := dataDir(t, t.TempDir())
		ancient := filepath.Join(root, "geth/chaindata/ancient")
		elsewhere := filepath.Join(t.TempDir(), "disk")
		run(t, "cp", "-a", ancient, elsewhere)
		s := snapshotter(root)
		whole := commit(t, s)
		bind(t, elsewhere, ancient)
		p, err := s.Prepare(ctx)
		if err != nil {
			t.Fatal(err)
		}
		snap := commit(t, s)
		for _, have := range []string{p.Partial, snap.Partial} {
			if !strings.Contains(have, "geth/chaindata/ancient is a mount of its own") {
				t.Errorf("want the mount named, have %q", have)
			}
		}
		before := image(t, root, false)
		for _, id := range []string{snap.ID, whole.ID} { // also one that was made before the mount
			if _, err := s.Rollback(ctx, id); !errors.Is(err, ErrPartial) {
				t.Errorf("want ErrPartial, have %v", err)
			}
			same(t, "live data", before, image(t, root, false))
		}
	})
	t.Run("of the identity", func(t *testing.T) {
		root := dataDir(t, t.TempDir())
		before := image(t, root, true)
		secret := filepath.Join(t.TempDir(), "key")
		write(t, secret, "a mounted key")
		accounts := t.TempDir()
		write(t, filepath.Join(accounts, "account"), "x")
		bind(t, secret, filepath.Join(root, "geth/nodekey"))
		bind(t, accounts, filepath.Join(root, "keystore"))
		s := snapshotter(root)
		snap := commit(t, s)
		if snap.Partial != "" {
			t.Errorf("a mounted key is no lost data: %q", snap.Partial)
		}
		store := filepath.Join(root, "geth/chaindata")
		if err := os.Remove(filepath.Join(store, "000010.sst")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Rollback(ctx, snap.ID); err != nil {
			t.Fatal(err)
		}
		same(t, "live data", before, image(t, root, true))
		m, err := readMounts()
		if err != nil || !m[filepath.Join(root, "geth/nodekey")] || !m[filepath.Join(root, "keystore")] {
			t.Errorf("the mounts did not stay: %v", err)
		}
	})
	t.Run("in what is deleted", func(t *testing.T) {
		root := dataDir(t, t.TempDir())
		s := snapshotter(root)
		snap := commit(t, s)
		only := t.TempDir()
		write(t, filepath.Join(only, "the only copy"), "x")
		bind(t, only, filepath.Join(snap.Root, "geth/odd/empty folder"))
		if err := s.Drop(ctx, snap.ID); err == nil || !strings.Contains(err.Error(), "unmount that first") {
			t.Errorf("want a refusal that names the mount, have %v", err)
		}
		if !exists(filepath.Join(only, "the only copy")) {
			t.Error("it was deleted through the mount")
		}
		if all, err := s.List(); err != nil || len(all) != 1 {
			t.Errorf("want the snapshot still there, have %v, %v", all, err)
		}
	})
	t.Run("of our own folder", func(t *testing.T) {
		root := dataDir(t, t.TempDir())
		before := image(t, root, true)
		other := t.TempDir()
		if err := os.Mkdir(filepath.Join(root, ownFolder), 0o700); err != nil {
			t.Fatal(err)
		}
		bind(t, other, filepath.Join(root, ownFolder))
		s := snapshotter(root)
		snap := commit(t, s) // link(2) gives EXDEV, so it is a copy
		if snap.Method != ByCopy || len(snap.Warnings) != 1 || snap.Linked != 0 {
			t.Errorf("want a copy, have %+v", snap)
		}
		same(t, "mirror", before, image(t, snap.Root, true))
		if _, err := s.Rollback(ctx, snap.ID); !errors.Is(err, ErrPartial) {
			t.Errorf("want ErrPartial, have %v", err)
		}
		same(t, "live data", before, image(t, root, true))
	})
}
