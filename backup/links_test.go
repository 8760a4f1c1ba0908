package backup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Links that cannot be made: what would have been linked is copied while the node
// runs, and the window copies no more of it than came since.
func TestWhereLinksFail(t *testing.T) {
	t.Parallel()
	t.Run("files of another owner", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("it takes root to become somebody else")
		}
		if on, _ := os.ReadFile("/proc/sys/fs/protected_hardlinks"); strings.TrimSpace(string(on)) != "1" {
			t.Skip("fs.protected_hardlinks is off")
		}
		dir := t.TempDir()
		root := dataDir(t, dir)
		if err := os.Remove(filepath.Join(root, "geth/odd/secret")); err != nil { // nobody else may read it
			t.Fatal(err)
		}
		run(t, "chmod", "-R", "a+rX", filepath.Dir(dir))
		run(t, "chmod", "-R", "a+rwX", root)
		for _, table := range []string{"000010.sst", "000012.sst"} {
			run(t, "chmod", "0644", filepath.Join(root, "geth/chaindata", table))
		}
		run(t, "chmod", "0644", filepath.Join(root, "geth/chaindata/ancient/chain/bodies.0000.cdat"))
		program := filepath.Join(dir, "test")
		run(t, "cp", os.Args[0], program)
		c := exec.Command(program, "-test.run=^TestAsSomebodyElse$", "-test.v")
		c.Env = append(os.Environ(), "WEMIXVISOR_BACKUP_ROOT="+root, "TMPDIR=/tmp")
		c.Dir = "/"
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	t.Run("as many names as can be", func(t *testing.T) {
		root, _ := volume(t, "ext4", "64M")
		table := filepath.Join(root, "geth/chaindata/000001.sst")
		write(t, table, "x")
		names := t.TempDir()
		names = filepath.Join(root, "names", filepath.Base(names))
		if err := os.MkdirAll(names, 0o755); err != nil {
			t.Fatal(err)
		}
		for n := 0; ; n++ {
			if err := os.Link(table, filepath.Join(names, fmt.Sprint(n))); err != nil {
				if !errors.Is(err, unix.EMLINK) {
					t.Fatal(err)
				}
				break
			}
		}
		s := NewSnapshotter(SnapshotterConfig{Tree: Tree{Root: root, Own: []string{filepath.Join(root, "names")}}, Floor: noFloor})
		snap := commit(t, s)
		if snap.Method != ByCopy || len(snap.Warnings) != 1 || !strings.Contains(snap.Warnings[0], "drop old snapshots") {
			t.Errorf("want one copied, with the advice, have %+v", snap)
		}
		if err := s.Verify(ctx, snap.ID); err != nil {
			t.Error(err)
		}
	})
}

// TestAsSomebodyElse is no test: the one above runs it under another user.
func TestAsSomebodyElse(t *testing.T) {
	root := os.Getenv("WEMIXVISOR_BACKUP_ROOT")
	if root == "" {
		t.Skip("it is run by another test")
	}
	s := snapshotter(root)
	p, err := s.Prepare(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if p.Method != ByCopy || len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "chown -R 65532:65532 "+root) || !strings.Contains(p.Warnings[0], "fsGroup") {
		t.Errorf("want the advice, have %+v", p)
	}
	if p.Staged < 3*20<<10 {
		t.Errorf("want what cannot be linked copied ahead, have %d bytes", p.Staged)
	}
	tables := filepath.Join(root, "geth/chaindata")
	before, err := lookAt(filepath.Join(root, ownFolder, "snapshots/.next/tree"), "geth/chaindata/000010.sst", Immutable)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(tables, "000012.sst")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(tables, "000901.sst"), "new")
	snap, err := s.Commit(ctx, "test", Origin{})
	if err != nil {
		t.Fatal(err)
	}
	after, err := lookAt(snap.Root, "geth/chaindata/000010.sst", Immutable)
	if err != nil || after.Ino != before.Ino {
		t.Errorf("what was copied ahead was copied again: %v", err)
	}
	if exists(filepath.Join(snap.Root, "geth/chaindata/000012.sst")) || !exists(filepath.Join(snap.Root, "geth/chaindata/000901.sst")) {
		t.Error("the mirror did not follow")
	}
	if err := s.Verify(ctx, snap.ID); err != nil {
		t.Error(err)
	}
	write(t, filepath.Join(tables, "CURRENT"), "another")
	if _, err := s.Rollback(ctx, snap.ID); err != nil {
		t.Fatal(err)
	}
	if have, _ := os.ReadFile(filepath.Join(tables, "CURRENT")); string(have) != "MANIFEST-000001\n" {
		t.Errorf("not rolled back: %q", have)
	}
}
