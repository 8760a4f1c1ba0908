package upgrade

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wemix/wemixvisor/backup"
)

func TestRestorePutsTheDataBackAndLeavesTheIdentity(t *testing.T) {
	v := newVault(t, keeper, nil)
	info, err := v.Create(t.Context(), BackupOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v.runs()
	whole := v.read("geth/chaindata/000001.ldb")
	write(t, filepath.Join(v.data, "geth/chaindata/000002.ldb"), "later")
	write(t, filepath.Join(v.data, "geth/nodekey"), "another key")
	if _, err := v.Restore(t.Context(), info.ID, false); err != nil {
		t.Fatal(err)
	}
	v.runs()
	if v.read("geth/chaindata/000001.ldb") != whole || v.read("geth/chaindata/000002.ldb") != "" {
		t.Error("want the data as it was")
	}
	if have := v.read("geth/nodekey"); have != "another key" {
		t.Errorf("want the identity left alone, have %q", have)
	}
	failed, err := v.cfg.Snapshots.Failed()
	if err != nil || len(failed) != 1 {
		t.Fatalf("want what was live kept, have %v %v", failed, err)
	}
	if _, err := v.Create(t.Context(), BackupOptions{}); err != nil {
		t.Fatal(err)
	}
	if failed, _ = v.cfg.Snapshots.Failed(); len(failed) != 0 {
		t.Errorf("want it gone after the next backup, have %v", failed)
	}
}

func TestRestoreSeedsAnEmptyVolume(t *testing.T) {
	v := newVault(t, keeper, nil)
	info, err := v.Create(t.Context(), BackupOptions{IncludeSecrets: true})
	if err != nil {
		t.Fatal(err)
	}
	key := v.read("geth/nodekey")
	folder := filepath.Join(t.TempDir(), "copied")
	if err := os.CopyFS(folder, os.DirFS(filepath.Join(v.root, "backups", info.ID))); err != nil {
		t.Fatal(err)
	}
	// Nobody runs there, and there is no binary yet.
	w := vaultAt(t, t.TempDir(), nil)
	w.cfg.Node = nil
	w.Recover(t.Context())
	if _, err := w.Restore(t.Context(), folder, false); err != nil {
		t.Fatal(err)
	}
	if w.read("geth/chaindata/000001.ldb") != v.read("geth/chaindata/000001.ldb") || w.read("geth/nodekey") != key || key == "" {
		t.Error("want the data, and the identity that was asked for")
	}
	// A node that was started by hand holds its lock.
	held := vaultAt(t, v.root, nil)
	held.cfg.Node = nil
	if _, err := held.Restore(t.Context(), folder, true); !errors.Is(err, backup.ErrInUse) {
		t.Errorf("want it refused under a running node, have %v", err)
	}
}

func TestRestoreRefusesTheDataOfAnotherBinary(t *testing.T) {
	v := newVault(t, keeper, nil)
	info, err := v.Create(t.Context(), BackupOptions{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, v.home.Genesis(), keeper+"# newer\n")
	pid := v.sup.Status().Pid
	_, err = v.Restore(t.Context(), info.ID, false)
	if !errors.Is(err, ErrOtherBinary) || !strings.Contains(err.Error(), "--force") || v.sup.Status().Pid != pid {
		t.Fatalf("want it refused with the way out, and the node left alone; have %v", err)
	}
	if _, err := v.Restore(t.Context(), info.ID, true); err != nil {
		t.Fatal(err)
	}
	v.runs()
}

func TestCorruptArchiveTouchesNothing(t *testing.T) {
	v := newVault(t, keeper, nil)
	info, err := v.Create(t.Context(), BackupOptions{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(v.root, "backups", info.ID, "data.tar.zst")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	pid := v.sup.Status().Pid
	if _, err := v.Restore(t.Context(), info.ID, false); !errors.Is(err, backup.ErrCorrupt) {
		t.Fatalf("want it found corrupt, have %v", err)
	}
	if v.sup.Status().Pid != pid {
		t.Error("want the node never stopped")
	}
	if entries, _ := os.ReadDir(filepath.Join(v.data, ".wemixvisor/incoming")); len(entries) != 0 {
		t.Errorf("want nothing left, have %v", entries)
	}
	infos, err := v.Verify(t.Context(), "")
	if !errors.Is(err, backup.ErrCorrupt) || len(infos) != 1 || infos[0].Verified || infos[0].Damage == "" {
		t.Errorf("want verify to say so, have %v %+v", err, infos)
	}
	if v.Figures().LastVerified != nil {
		t.Error("want no verified one any more")
	}
}

func TestStopInTheMiddleLeavesNothingHalf(t *testing.T) {
	for _, kind := range []string{"create", "restore"} {
		t.Run(kind, func(t *testing.T) {
			v := newVault(t, keeper, nil)
			if kind == "restore" {
				if _, err := v.Create(t.Context(), BackupOptions{}); err != nil {
					t.Fatal(err)
				}
				v.runs()
			}
			v.pace(256 << 10)
			done := make(chan error, 1)
			go func() {
				var err error
				if kind == "create" {
					_, err = v.Create(context.Background(), BackupOptions{})
				} else {
					all, _ := v.List()
					_, err = v.Restore(context.Background(), all[0].ID, false)
				}
				done <- err
			}()
			eventually(t, "at work", func() bool { j := v.Job(); return j != nil && j.Kind == kind && j.Stage != stagePreparing }, nil)
			v.end()
			if err := <-done; kind == "create" && err == nil {
				t.Error("want to hear that there is no backup")
			}
			w := vaultAt(t, v.root, nil)
			w.run()
			w.runs()
			all, err := w.List()
			if want := map[string]int{"create": 0, "restore": 1}[kind]; err != nil || len(all) != want {
				t.Errorf("want %d archives, have %v %v", want, all, err)
			}
			if n := w.snapshots(); n != 0 {
				t.Errorf("want no snapshot left, have %d", n)
			}
			making, _ := filepath.Glob(filepath.Join(v.root, "backups", ".making-*"))
			incoming, _ := filepath.Glob(filepath.Join(v.data, ".wemixvisor/incoming/*"))
			if len(making)+len(incoming) != 0 {
				t.Errorf("want all swept, have %v %v", making, incoming)
			}
		})
	}
}

func TestNodeIsHeldDownOverDataThatIsHalfSwapped(t *testing.T) {
	root := t.TempDir()
	lay(t, root, keeper)
	v := vaultAt(t, root, nil)
	write(t, filepath.Join(v.data, ".wemixvisor/swap.json"), `{"version":99}`)
	v.run()
	eventually(t, "held", func() bool { st := v.sup.Status(); return st.Held && st.Change == nil }, nil) // the change says why at its end
	st := v.sup.Status()
	if v.Holding() == nil || !strings.Contains(st.Reason, "half swapped") {
		t.Fatalf("want the reason told, have %+v", st)
	}
	if _, err := v.Create(t.Context(), BackupOptions{}); !errors.Is(err, backup.ErrUnfinished) {
		t.Errorf("want no backup of that, have %v", err)
	}
	if err := v.Cleared(t.Context()); !errors.Is(err, backup.ErrUnfinished) {
		t.Errorf("want it still held, have %v", err)
	}
	if err := os.Remove(filepath.Join(v.data, ".wemixvisor/swap.json")); err != nil {
		t.Fatal(err)
	}
	if err := v.Cleared(t.Context()); err != nil {
		t.Errorf("want it free once that is mended, have %v", err)
	}
	if err := v.sup.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	v.runs()
}

// A rollback found a key missing, and then the container was restarted.
func TestALostKeyHoldsTheNextSupervisorToo(t *testing.T) {
	v := newVault(t, keeper, nil)
	v.end()
	key := filepath.Join(v.data, "geth/nodekey")
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	s := v.cfg.Snapshots
	if _, err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Commit(t.Context(), "test", backup.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rollback(t.Context(), snap.ID); !errors.Is(err, backup.ErrIdentity) {
		t.Fatalf("want it missed, have %v", err)
	}
	// Whoever asked for the rollback, the same supervisor starts nothing any more.
	if err := v.Cleared(t.Context()); !errors.Is(err, backup.ErrIdentity) {
		t.Errorf("want the start forbidden, have %v", err)
	}
	w := vaultAt(t, v.root, nil)
	w.run()
	eventually(t, "held", func() bool { st := w.sup.Status(); return st.Held && st.Change == nil }, nil)
	if reason := w.sup.Status().Reason; !strings.Contains(reason, "geth/nodekey") || !strings.Contains(reason, "put it back") {
		t.Errorf("want the key and the next step named, have %q", reason)
	}
	if err := w.Cleared(t.Context()); !errors.Is(err, backup.ErrIdentity) {
		t.Errorf("want it still held, have %v", err)
	}
	if err := os.WriteFile(key, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Cleared(t.Context()); err != nil {
		t.Errorf("want it free with the key back, have %v", err)
	}
	if err := w.sup.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	w.runs()
}
