package backup

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// write makes a file and the folders above it.
func write(t testing.TB, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestWalkTellsEachFilesClass(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	files := map[string]Class{
		"geth/chaindata/000012.sst":                                        Immutable,
		"geth/chaindata/000013.ldb":                                        Immutable,
		"geth/chaindata/ancient/chain/era/mainnet-00000-5ec1ffb8.era1":     Immutable,
		"geth/chaindata/ancient/chain/era/mainnet-00001-aa75a2e0.era1.tmp": Mutable,
		"geth/chaindata/ancient/chain/era/mainnet-01896-b1fa1c42.ere":      Immutable,
		"geth/chaindata/000014.log":                                        Mutable,
		"geth/chaindata/MANIFEST-000001":                                   Mutable,
		"geth/chaindata/ancient/chain/headers.0000.cdat":                   Sealed,
		"geth/chaindata/ancient/chain/headers.0001.cdat":                   Append,
		"geth/chaindata/ancient/chain/headers.cidx":                        Append,
		"geth/chaindata/ancient/chain/hashes.0000.rdat":                    Append,
		"geth/chaindata/ancient/chain/hashes.ridx":                         Append,
		"geth/chaindata/ancient/chain/hashes.meta":                         Mutable,
		"geth/chaindata/ancient/chain/receipts.0009.cdat":                  Sealed,
		"geth/chaindata/ancient/chain/receipts.0010.cdat":                  Append,
		"geth/chaindata/ancient/chain/receipts.10000.cdat":                 Append,
		"geth/nodekey":                            Keep,
		"geth/jwtsecret":                          Keep,
		"keystore/UTC--2026--aa":                  Keep,
		"etcd/member/wal/0.wal":                   Keep,
		"upgrade-info.json":                       Keep,
		"upgrades/1000/upgrade-info.json":         Keep,
		"upgrades/1000/else":                      Mutable,
		"geth/upgrade-info.json":                  Mutable,
		"odd \n name \xff":                        Mutable,
		strings.Repeat("n", 255):                  Mutable,
		"geth/nodes/empty.sst/000001.sst.partial": Mutable,
	}
	files["geth/chaindata/ancient/chain/receipts.0010.cdat"] = Sealed // below 10000
	for file := range files {
		write(t, filepath.Join(root, file), file)
	}
	for _, left := range []string{"geth/LOCK", "geth/chaindata/ancient/chain/FLOCK", "geth.ipc", ".wemixvisor/snapshots/x", "wemixvisor/journal.json", "backups/a/data.tar.zst"} {
		write(t, filepath.Join(root, left), left)
	}
	if err := os.Mkdir(filepath.Join(root, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	have := map[string]Class{}
	var order []string
	tree := Tree{Root: root, Own: []string{filepath.Join(root, "wemixvisor"), filepath.Join(root, "backups")}}
	excluded, err := tree.Walk(context.Background(), func(e Entry) error {
		order = append(order, e.Path)
		if e.Mode.IsRegular() {
			have[e.Path] = e.Class
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range files {
		if c, ok := have[file]; !ok || c != want {
			t.Errorf("%q: want %s, have %s (found: %v)", file, want, c, ok)
		}
	}
	if len(have) != len(files) {
		t.Errorf("want %d files, have %d: %v", len(files), len(have), have)
	}
	var left []string
	for _, out := range excluded {
		left = append(left, out.Path+": "+out.Why)
	}
	want := []string{
		".wemixvisor: wemixvisor's own", "backups: wemixvisor's own", "geth.ipc: a socket, pipe or device",
		"geth/LOCK: a lock", "geth/chaindata/ancient/chain/FLOCK: a lock", "lost+found: the file system's own", "wemixvisor: wemixvisor's own",
	}
	slices.Sort(left)
	if !slices.Equal(left, want) {
		t.Errorf("left out: want %q, have %q", want, left)
	}
	for i, p := range order[1:] {
		if parent := filepath.Dir(p); !slices.Contains(order[:i+1], parent) {
			t.Errorf("%q comes before its folder", p)
		}
	}
}

func TestWalkReportsASymlinkThatLeadsOut(t *testing.T) {
	t.Parallel()
	root, out := t.TempDir(), t.TempDir()
	write(t, filepath.Join(root, "geth/a"), "a")
	for name, to := range map[string]string{"out": out, "geth/in": "a", "dangling": "/nowhere/at/all", "keystore": out} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	excluded, err := Tree{Root: root}.Walk(context.Background(), func(e Entry) error {
		if e.Mode.Type() == fs.ModeSymlink {
			seen++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen != 4 {
		t.Errorf("want the 4 symlinks themselves, have %d", seen)
	}
	var loss []string
	for _, e := range excluded {
		if e.Loss {
			loss = append(loss, e.Path)
		}
	}
	if len(excluded) != 2 || !slices.Equal(loss, []string{"out"}) {
		t.Errorf("want out reported as a loss and keystore not, have %+v", excluded)
	}
}

func TestSequenceDecidesWhenTheClockGoesBack(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 4, 30, 12, 0, time.UTC)
	first := NewID(now, NextSequence(nil), KindSnapshot)
	second := NewID(now.AddDate(-1, 0, 0), NextSequence([]string{first, "no id", ".next"}), KindFull)
	if want := "20251123T043012Z-000002-full"; second != want {
		t.Fatalf("want %s, have %s", want, second)
	}
	ids := []string{first, second}
	sortNewestFirst(ids, func(id string) string { return id })
	if ids[0] != second {
		t.Errorf("want the later made first, have %q", ids)
	}
	for _, bad := range []string{"", "..", "../20261123T043012Z-000042-full", "20261123T043012Z-000042-full/..", "20261323T043012Z-000042-full", "x"} {
		if _, _, _, ok := ParseID(bad); ok {
			t.Errorf("%q is taken for an id", bad)
		}
	}
}

func FuzzNamesSurviveJSON(f *testing.F) {
	for _, s := range []string{"", "a/b", "100%", "\xff\n", "%FF", "\u00e9\xe9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		escaped := escapeName(name)
		if have, err := unescapeName(escaped); err != nil || have != name {
			t.Fatalf("want %q, have %q, %v", name, have, err)
		}
		_, _ = unescapeName(name) // whatever it holds, no panic
	})
}
