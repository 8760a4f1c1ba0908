package backup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/e2e/chaindata"
)

// cost is what a piece of work took.
type cost struct{ wall, cpu []time.Duration }

func (c *cost) add(wall, cpu time.Duration) {
	c.wall, c.cpu = append(c.wall, wall), append(c.cpu, cpu)
}

// over returns how many times the other's median this one's are.
func (c *cost) over(o cost) (wall, cpu float64) {
	return float64(median(c.wall)) / float64(median(o.wall)), float64(median(c.cpu)) / float64(median(o.cpu))
}

// shell measures a command with all its processes.
func (c *cost) shell(t *testing.T, format string, args ...any) {
	t.Helper()
	cmd := exec.Command("bash", "-o", "pipefail", "-c", fmt.Sprintf(format, args...))
	begun := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, out)
	}
	c.add(time.Since(begun), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
}

// self measures work of this process.
func (c *cost) self(t *testing.T, work func() error) {
	t.Helper()
	used := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	begun, before := time.Now(), used()
	if err := work(); err != nil {
		t.Fatal(err)
	}
	c.add(time.Since(begun), used()-before)
}

// The archive against the ordinary tools, in turns. WEMIXVISOR_BENCH_DATA names a
// data directory to take instead of a generated one.
func TestBarOfTheArchive(t *testing.T) {
	bar(t)
	dir := t.TempDir()
	root := os.Getenv("WEMIXVISOR_BENCH_DATA")
	if root == "" {
		root = filepath.Join(dir, "data")
		if _, err := chaindata.Make(root, chaindata.GB(1, 64<<20)); err != nil {
			t.Fatal(err)
		}
	}
	r := newRepo(t)
	plain, to := filepath.Join(dir, "plain.tar.zst"), filepath.Join(dir, "to")
	var ours, theirs, verify, extract, untar cost
	var info Info
	var size int64
	for range 3 {
		cold(t)
		theirs.shell(t, "tar -C %s -cf - . | zstd -q -f -T0 -1 -o %s; sync %s; zstd -q -t %s", root, plain, plain, plain)
		cold(t)
		ours.self(t, func() (err error) {
			info, err = r.Create(ctx, Source{Tree: Tree{Root: root}}, CreateOptions{})
			return err
		})
		verify.self(t, func() error { return r.Verify(ctx, info.ID, nil) })
		if err := os.Mkdir(to, 0o755); err != nil {
			t.Fatal(err)
		}
		cold(t)
		untar.shell(t, "tar -C %s --zstd -xf %s; sync -f %s", to, plain, to)
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		cold(t)
		extract.self(t, func() error {
			_, err := r.Extract(ctx, info.ID, to, ExtractOptions{})
			return err
		})
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Prune(ctx, Policy{KeepFull: 1}, false); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(plain)
		if err != nil {
			t.Fatal(err)
		}
		size = fi.Size()
	}
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	for _, b := range []struct {
		what        string
		ours, other cost
		most        float64
	}{
		{"create and verify over tar | zstd -T0 -1, sync, zstd -t", ours, theirs, 1.15},
		{"extract over tar --zstd -x, sync", extract, untar, 1.1},
		{"verify over create", verify, ours, 0.25},
	} {
		wall, cpu := b.ours.over(b.other)
		t.Logf("%s: %.2f wall, %.2f CPU (at most %.2f); %.1f s against %.1f, CPU %.1f against %.1f", b.what, wall, cpu, b.most, median(b.ours.wall).Seconds(), median(b.other.wall).Seconds(), median(b.ours.cpu).Seconds(), median(b.other.cpu).Seconds())
		if wall > b.most || cpu > b.most {
			t.Errorf("%s: over the bar", b.what)
		}
	}
	larger := float64(info.Size) / float64(size)
	t.Logf("size: %.4f (at most 1.01), of %d MiB to %d; memory: %d MiB (at most 128)", larger, info.DataBytes>>20, info.Size>>20, u.Maxrss>>10)
	if larger > 1.01 || u.Maxrss>>10 > 128 {
		t.Error("size or memory: over the bar")
	}
}
