//go:build failpoint

package backup

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestChild is no test: it is what the tests here kill.
func TestChild(t *testing.T) {
	work := os.Getenv("WEMIXVISOR_BACKUP_CHILD")
	if work == "" {
		t.Skip("it is run by the tests that kill it")
	}
	op, rest, _ := strings.Cut(work, " ")
	root, id, _ := strings.Cut(rest, " ")
	s := snapshotter(root)
	var err error
	switch op {
	case "prepare":
		_, err = s.Prepare(ctx)
	case "commit":
		if _, err = s.Prepare(ctx); err == nil {
			_, err = s.Commit(ctx, "test", Origin{})
		}
	case "rollback":
		_, err = s.Rollback(ctx, id)
	case "replace":
		err = s.Replace(ctx, filepath.Join(root, ownFolder, "incoming", id), id)
	case "drop":
		err = s.Drop(ctx, id)
	case "recover":
		_, err = s.Recover(ctx)
	default:
		err = archiveChild(op, root, id)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// child runs an operation in another process, which may die at a point, or after
// a while, and returns whether it came to its end.
func child(t *testing.T, op, root, id, point, log string, after time.Duration) bool {
	t.Helper()
	died, out, err := spawn(t, op, root, id, point, log, after)
	if err != nil {
		t.Fatalf("%s at %q: %v\n%s", op, point, err, out)
	}
	return !died
}

// spawn is child for an operation that may fail.
func spawn(t *testing.T, op, root, id, point, log string, after time.Duration) (died bool, out *strings.Builder, err error) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestChild$")
	c.Env = append(os.Environ(), fmt.Sprintf("WEMIXVISOR_BACKUP_CHILD=%s %s %s", op, root, id),
		"WEMIXVISOR_FAILPOINT="+point, "WEMIXVISOR_FAILPOINT_LOG="+log)
	out = &strings.Builder{}
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if after > 0 {
		killer := time.AfterFunc(after, func() { _ = c.Process.Kill() })
		defer killer.Stop()
	}
	err = c.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && (exit.ExitCode() == 137 || exit.ExitCode() == -1) {
		return true, out, nil
	}
	return false, out, err
}

// points lets an operation pass once, and returns each point it came by, with the
// time that it did.
func points(t *testing.T, op, root, id string) []string {
	t.Helper()
	log := filepath.Join(t.TempDir(), "points")
	if !child(t, op, root, id, "", log, 0) {
		t.Fatalf("%s died without a reason", op)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	var all []string
	for _, name := range strings.Fields(string(text)) {
		times[name]++
		all = append(all, fmt.Sprintf("%s#%d", name, times[name]))
	}
	return all
}

// quick returns a folder in which an fsync costs nothing, where that can be: a test
// kills processes, not the machine, so for what it sees there is no difference.
func quick(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1g"); err == nil {
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	return dir
}

// victim is a data directory with a snapshot of the old data, live new data, and a
// tree to replace it with.
type victim struct {
	root, id           string
	old, new, incoming map[string]string
	identity           map[string]string
}

const archiveID = "20260101T000000Z-000077-full"

// herd makes victims fast: one is made with care, the others are copies by cp -a,
// which keeps what hard links connect.
func herd(t *testing.T, dir string) func() victim {
	t.Helper()
	root := dataDir(t, dir)
	if err := os.Remove(filepath.Join(root, "geth/odd/sparse")); err != nil { // slow to copy
		t.Fatal(err)
	}
	v := victim{old: image(t, root, true)}
	s := snapshotter(root)
	v.id = commit(t, s).ID
	in, err := s.Incoming()
	if err != nil {
		t.Fatal(err)
	}
	in = filepath.Join(in, archiveID)
	write(t, filepath.Join(in, "geth/chaindata/000001.sst"), "from an archive")
	write(t, filepath.Join(in, "geth/nodekey"), "the archive's key")
	write(t, filepath.Join(in, "only in the archive/x"), "x")
	v.incoming = image(t, in, true)
	runOn(t, root)
	write(t, filepath.Join(root, ownFolder, "snapshots/.next/tree/left over"), "x")
	defer func() {
		for _, p := range []string{"upgrades", "upgrades/100"} { // folders of what must stay stay with it
			v.incoming[p] = v.new[p]
		}
	}()
	v.new, v.identity = image(t, root, true), identity(t, root)
	n := 0
	return func() victim {
		n++
		c := v
		c.root = filepath.Join(dir, fmt.Sprint(n))
		if out, err := exec.Command("cp", "-a", root, c.root).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		relink(t, root, c.root, v.id)
		t.Cleanup(func() { _ = os.RemoveAll(c.root) })
		return c
	}
}

// relink writes the ledger of a snapshot anew for a copy of its data directory: the
// inodes are others there.
func relink(t *testing.T, from, to, id string) {
	t.Helper()
	for _, name := range []string{ledgerFirst, ledgerSecond} {
		at := filepath.Join(to, ownFolder, "snapshots", id)
		var lines []ledgerLine
		err := readLedger(filepath.Join(from, ownFolder, "snapshots", id, name), func(l ledgerLine) error {
			if l.kind == lineLink {
				e, err := lookAt(filepath.Join(at, mirrorFolder), l.path, Immutable)
				if err != nil {
					return err
				}
				l.ino = e.Ino
			}
			lines = append(lines, l)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w, err := newLedger(filepath.Join(at, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			w.add(l)
		}
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// identity is the image of what never goes back.
func identity(t *testing.T, root string) map[string]string {
	have := map[string]string{}
	for p, text := range image(t, root, false) {
		if strings.Contains(p, "nodekey") || strings.Contains(p, "keystore") || strings.Contains(p, "upgrade-info") {
			have[p] = text
		}
	}
	return have
}

// recovered starts as after a crash, which may itself crash, and checks what must
// hold then: old data or new and nothing between, the identity as it was, nothing
// left over, every snapshot that lists good. It returns whether the data is the new.
func (v victim) recovered(t *testing.T, when, crash string, want map[string]string) (swapped bool) {
	t.Helper()
	if crash != "" {
		child(t, "recover", v.root, "", crash, "", 0)
	}
	s := snapshotter(v.root)
	if _, err := s.Recover(ctx); err != nil {
		t.Fatalf("%s: recover: %v", when, err)
	}
	again, err := s.Recover(ctx)
	if err != nil || again.Finished != nil || again.Undone != "" || len(again.Swept) > 0 {
		t.Fatalf("%s: a second recovery finds %+v, %v", when, again, err)
	}
	have := image(t, v.root, true)
	same(t, when+": identity", v.identity, identity(t, v.root))
	if len(have) == len(want) && have["geth/chaindata/000001.sst"] == want["geth/chaindata/000001.sst"] &&
		have["geth/chaindata/MANIFEST-000001"] == want["geth/chaindata/MANIFEST-000001"] {
		swapped = true
		same(t, when+": live data after it was finished", want, have)
	} else {
		same(t, when+": live data as it was", v.new, have)
	}
	all, err := s.List()
	if err != nil {
		t.Fatalf("%s: list: %v", when, err)
	}
	for _, snap := range all {
		if err := s.Verify(ctx, snap.ID); err != nil {
			t.Errorf("%s: %s lists and does not verify: %v", when, snap.ID, err)
		}
	}
	for _, p := range []string{"swap.json", "snapshots/.next", "incoming/" + archiveID} {
		if exists(filepath.Join(v.root, ownFolder, p)) {
			t.Errorf("%s: %s is left over", when, p)
		}
	}
	return swapped
}

// A rollback that misses a key forbids the start whatever it dies of, as soon as its data
// may be live; put back, all is as after any rollback.
func TestALostKeyIsRememberedByTheKilled(t *testing.T) {
	t.Parallel()
	next := herd(t, quick(t))
	fresh := func() victim {
		v := next()
		if err := os.Remove(filepath.Join(v.root, "geth/nodekey")); err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := fresh()
	log := filepath.Join(t.TempDir(), "points")
	if died, _, err := spawn(t, "rollback", v.root, v.id, "", log, 0); died || err == nil {
		t.Fatalf("want it refused, have %v %v", died, err)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	seen, remembered := map[string]bool{}, 0
	for _, point := range strings.Fields(string(text)) {
		if seen[point] {
			continue
		}
		seen[point] = true
		v := fresh()
		if died, out, _ := spawn(t, "rollback", v.root, v.id, point+"=exit", "", 0); !died {
			t.Fatalf("it passed %s alive: %s", point, out)
		}
		journalled := exists(filepath.Join(v.root, ownFolder, "swap.json"))
		for range 2 {
			_, err := snapshotter(v.root).Recover(ctx)
			live := image(t, v.root, true)["geth/chaindata/MANIFEST-000001"] == v.old["geth/chaindata/MANIFEST-000001"]
			if live != errors.Is(err, ErrIdentity) {
				t.Errorf("after %s: the old data is live: %v; have %v", point, live, err)
			}
			if journalled && !live {
				t.Errorf("after %s: it was not finished", point)
			}
			if live {
				remembered++
			}
		}
		write(t, filepath.Join(v.root, "geth/nodekey"), "put back")
		if _, err := snapshotter(v.root).Recover(ctx); err != nil {
			t.Errorf("after %s, put back: %v", point, err)
		}
	}
	if len(seen) < 8 || remembered < 8 {
		t.Errorf("only %v", seen)
	}
}

func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	next := herd(t, quick(t))
	for _, op := range []string{"prepare", "commit", "rollback", "replace", "drop", "recover"} {
		t.Run(op, func(t *testing.T) {
			v := next()
			want := v.old
			id := v.id
			if op == "replace" {
				want, id = v.incoming, archiveID
			}
			if op == "prepare" || op == "commit" || op == "drop" || op == "recover" {
				want = v.new
			}
			passed := points(t, op, v.root, id)
			if len(passed) < 1 {
				t.Fatal("no points on the way")
			}
			if !v.recovered(t, "all the way", "", want) {
				t.Fatal("the data was not swapped by an operation that succeeded")
			}
			finished := 0
			for i, point := range passed {
				v := next()
				if child(t, op, v.root, id, point+"=exit", "", 0) {
					t.Fatalf("%s: it did not die there", point)
				}
				crash := ""
				if i%2 == 1 { // and a crash in the recovery, at a point it will come by
					crash = "backup.recover-resumed=exit"
				}
				if v.recovered(t, "killed at "+point, crash, want) {
					finished++
				}
			}
			t.Logf("%d points; the data was the new one after %d", len(passed), finished)
		})
	}
}

// A swap that is killed, and whose recovery is killed at each of its own steps.
func TestRecoveryKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	next := herd(t, quick(t))
	v := next()
	child(t, "rollback", v.root, v.id, "backup.swap-out#2=exit", "", 0)
	for _, point := range points(t, "recover", v.root, "") {
		v := next()
		child(t, "rollback", v.root, v.id, "backup.swap-out#2=exit", "", 0)
		if child(t, "recover", v.root, "", point+"=exit", "", 0) {
			t.Fatalf("%s: it did not die there", point)
		}
		if !v.recovered(t, "recovery killed at "+point, "", v.old) {
			t.Errorf("recovery killed at %s: the rollback was not finished", point)
		}
	}
}

// A swap that cannot be finished, and whose undoing is killed at each step.
func TestUndoKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	next := herd(t, t.TempDir())
	stuck := func() victim {
		v := next()
		file := filepath.Join(v.root, "new at the root") // the last to be moved
		if out, err := exec.Command("chattr", "+i", file).CombinedOutput(); err != nil {
			t.Skipf("no file can be made to stay here: %v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("chattr", "-i", file).Run() })
		return v
	}
	v := stuck()
	log := filepath.Join(t.TempDir(), "points")
	if _, out, err := spawn(t, "rollback", v.root, v.id, "", log, 0); err == nil {
		t.Fatalf("it was finished: %s", out)
	}
	if v.recovered(t, "undone at once", "", v.old) {
		t.Fatal("it was finished")
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, name := range strings.Fields(string(text)) {
		times[name]++
		point := fmt.Sprintf("%s#%d", name, times[name])
		if times["backup.swap-undo"] == 0 {
			continue // TestKilledAtEveryStep has been there
		}
		v := stuck()
		if died, out, _ := spawn(t, "rollback", v.root, v.id, point+"=exit", "", 0); !died {
			t.Fatalf("%s: it did not die there: %s", point, out)
		}
		if v.recovered(t, "killed at "+point, "", v.old) {
			t.Errorf("killed at %s: it was finished", point)
		}
		if all, err := snapshotter(v.root).List(); err != nil || len(all) != 1 {
			t.Errorf("killed at %s: want the snapshot still there, have %v, %v", point, all, err)
		}
	}
	if times["backup.undo-out"] == 0 {
		t.Error("nothing was undone")
	}
}

func TestKilledAtRandom(t *testing.T) {
	t.Parallel()
	rounds := 12
	if long() {
		rounds = 200
	}
	next := herd(t, quick(t))
	for n := range rounds {
		v := next()
		op, id, want := "rollback", v.id, v.old
		if n%3 == 1 {
			op, id, want = "replace", archiveID, v.incoming
		}
		if n%3 == 2 {
			op, want = "commit", v.new
		}
		after := time.Duration(rand.Int64N(int64(150 * time.Millisecond)))
		child(t, op, v.root, id, "", "", after)
		v.recovered(t, fmt.Sprintf("%s killed after %s", op, after), "", want)
	}
}
