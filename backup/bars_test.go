package backup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/e2e/chaindata"
)

// long reports whether there is time for what takes minutes.
func long() bool { return os.Getenv("WEMIXVISOR_LONG") != "" }

// bar skips what takes minutes, and what a detector of races slows down.
func bar(t *testing.T) {
	if !long() {
		t.Skip("long; set WEMIXVISOR_LONG")
	}
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func cold(t *testing.T) {
	t.Helper()
	unix.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		t.Logf("the caches stay warm: %v", err)
	}
}

// touch is what a stopping node has just done: the mutable files are new.
func touch(t *testing.T, store string) {
	t.Helper()
	logs, _ := filepath.Glob(filepath.Join(store, "*.log"))
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(log, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	unix.Sync()
}

// window measures Commit alone, with the node's mutable files just written.
func window(t *testing.T, s *Snapshotter, store string, rounds int) time.Duration {
	t.Helper()
	var all []time.Duration
	for range rounds {
		if _, err := s.Prepare(ctx); err != nil {
			t.Fatal(err)
		}
		touch(t, store)
		snap, err := s.Commit(ctx, "bar", Origin{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, snap.Window)
		if err := s.Drop(ctx, snap.ID); err != nil {
			t.Fatal(err)
		}
	}
	return median(all)
}

func TestBarOfTheWindow(t *testing.T) {
	bar(t)
	const mutable = 120 << 20
	dir := t.TempDir()
	var windows []time.Duration
	var archive, copying []time.Duration
	for i, gb := range []float64{2.5 / 6, 2.5} {
		root := filepath.Join(dir, fmt.Sprint(i))
		store, err := chaindata.Make(root, chaindata.GB(gb, mutable))
		if err != nil {
			t.Fatal(err)
		}
		windows = append(windows, window(t, snapshotter(root), store, 7))
		if i == 0 {
			continue
		}
		if err := os.RemoveAll(filepath.Join(root, ownFolder)); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, "to")
		for range 3 {
			cold(t)
			begun := time.Now()
			run(t, "sh", "-c", fmt.Sprintf("tar -C %s -cf - . | zstd -q -T0 -1 -o %s && sync -f %s", root, to, to))
			archive = append(archive, time.Since(begun))
			_ = os.Remove(to)
			cold(t)
			begun = time.Now()
			run(t, "sh", "-c", fmt.Sprintf("cp -a %s %s && sync -f %s", root, to, to))
			copying = append(copying, time.Since(begun))
			_ = os.RemoveAll(to)
		}
	}
	w := windows[1]
	t.Logf("window %s; 1/%.0f of tar | zstd (%s), 1/%.1f of cp -a (%s); %.2f times that of a sixth of the data (%s)",
		w, float64(median(archive))/float64(w), median(archive), float64(median(copying))/float64(w), median(copying),
		float64(w)/float64(windows[0]), windows[0])
	if w > median(archive)/20 {
		t.Errorf("want at most 1/20 of tar | zstd -T0 -1")
	}
	if w > median(copying)/5 {
		t.Errorf("want at most 1/5 of a plain copy")
	}
	if float64(w) > 1.3*float64(windows[0]) {
		t.Errorf("want at most 1.3 times that of a sixth of the data")
	}
}

// cpu is what this process has used of the processors.
func cpu() time.Duration {
	var use unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &use)
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func TestBarOfManyFiles(t *testing.T) {
	bar(t)
	const files = 500_000
	root := t.TempDir()
	store, err := chaindata.Make(root, small)
	if err != nil {
		t.Fatal(err)
	}
	for n := range files {
		f, err := os.OpenFile(filepath.Join(store, fmt.Sprintf("%07d.sst", n)), os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	// Written long ago, as nearly all tables of a large node are.
	run(t, "sh", "-c", fmt.Sprintf("find %s -name '*.sst' -print0 | xargs -0 touch -d '2 hours ago'", store))
	unix.Sync()
	s := snapshotter(root)
	begun := time.Now()
	if _, err := s.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	first := time.Since(begun)
	begun = time.Now()
	if _, err := s.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	again := time.Since(begun)
	touch(t, store)
	work := cpu()
	snap, err := s.Commit(ctx, "bar", Origin{})
	if err != nil {
		t.Fatal(err)
	}
	work = cpu() - work
	begun = time.Now()
	if err := s.Verify(ctx, snap.ID); err != nil {
		t.Fatal(err)
	}
	verify := time.Since(begun)
	back, err := s.Rollback(ctx, snap.ID)
	if err != nil {
		t.Fatal(err)
	}
	var use unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &use)
	t.Logf("%d files: prepare %s, again %s, window %s (%s of it at work), verify %s, rollback %s (%s of renames), at most %d MiB of memory",
		snap.Files, first, again, snap.Window, work, verify, back.Duration+verify, back.Duration, use.Maxrss>>10)
	if snap.Window > 2*time.Second {
		t.Errorf("want a window of less than 2 s")
	}
	if back.Duration+verify > time.Second {
		t.Errorf("want a rollback of less than 1 s")
	}
	_ = exec.Command("rm", "-rf", root).Run()
}
