package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/reaper"
)

// binary makes an executable that says word.
func binary(t *testing.T, word string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "node")
	if err := os.WriteFile(file, []byte("#!/bin/sh\necho "+word+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func content(t *testing.T, h Home) string {
	t.Helper()
	file, err := h.Program()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEmptyVolumeIsSeededOnce(t *testing.T) {
	t.Parallel()
	h := Home{Root: t.TempDir(), Name: "wemixd"}
	if err := h.Check(""); !errors.Is(err, reaper.ErrNotFound) {
		t.Fatalf("want not found, have %v", err)
	}
	if entries, _ := os.ReadDir(h.Root); len(entries) != 0 {
		t.Fatalf("want nothing left behind, have %v", entries)
	}
	if err := h.Prepare(binary(t, "one")); err != nil {
		t.Fatal(err)
	}
	if want, have := "#!/bin/sh\necho one\n", content(t, h); want != have {
		t.Fatalf("want %q, have %q", want, have)
	}
	if err := h.Prepare(binary(t, "two")); err != nil {
		t.Fatal(err)
	}
	if want, have := "#!/bin/sh\necho one\n", content(t, h); want != have {
		t.Fatalf("want the first binary kept, have %q", have)
	}
	if want, have := "genesis", h.Current(); want != have {
		t.Fatalf("want current %q, have %q", want, have)
	}
}

func TestWhatWasLeftHalfMadeGoes(t *testing.T) {
	t.Parallel()
	h := Home{Root: t.TempDir(), Name: "wemixd"}
	if err := h.Prepare(binary(t, "one")); err != nil {
		t.Fatal(err)
	}
	if err := h.Stage(binary(t, "two"), "v2"); err != nil {
		t.Fatal(err)
	}
	for _, p := range []Plan{{Name: "v2", Height: 1}, {Name: "v3", Height: 2}} {
		if err := h.File(p); err != nil {
			t.Fatal(err)
		}
	}
	list := func() (all []string) {
		_ = filepath.WalkDir(h.Dir(), func(path string, _ fs.DirEntry, _ error) error {
			all = append(all, path)
			return nil
		})
		return all
	}
	want := list()
	for _, left := range []string{".place-A/bin/wemixd", "upgrades/.place-B/bin/wemixd", "upgrades/v2/bin/.stage-C", "queue/.v2.json-D", ".journal.json-F", ".current-G"} {
		write(t, filepath.Join(h.Dir(), left), "half")
	}
	if err := h.Prepare(""); err != nil {
		t.Fatal(err)
	}
	if have := list(); !slices.Equal(want, have) {
		t.Errorf("want %v, have %v", want, have)
	}
}

func TestLinkIsRelative(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	h := Home{Root: filepath.Join(root, "a"), Name: "wemixd"}
	if err := h.Prepare(binary(t, "moved")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(h.Root, filepath.Join(root, "b")); err != nil {
		t.Fatal(err)
	}
	content(t, Home{Root: filepath.Join(root, "b"), Name: "wemixd"}) // a volume may be mounted elsewhere
}

func TestMissingLinkBesideUpgradesIsNotGuessed(t *testing.T) {
	t.Parallel()
	h := Home{Root: t.TempDir(), Name: "wemixd"}
	if err := os.MkdirAll(filepath.Join(h.Dir(), "upgrades", "v2", "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := h.Prepare(binary(t, "old")); err == nil || h.LaidOut() {
		t.Fatalf("want an error and no link, have %v", err)
	}
}

func TestImportKeepsWhatCosmovisorUsed(t *testing.T) {
	t.Parallel()
	theirs := filepath.Join(t.TempDir(), "cosmovisor")
	for folder, word := range map[string]string{"genesis": "old", "upgrades/v2": "new"} {
		bin := filepath.Join(theirs, folder, "bin")
		if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(bin, "wemixd"), []byte(word), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(theirs, "upgrades", "v3"), 0o755); err != nil { // to come
		t.Fatal(err)
	}
	for _, tc := range []struct{ link, from string }{
		{filepath.Join(theirs, "upgrades", "v2"), theirs},
		{filepath.Join(theirs, "upgrades", "v2"), filepath.Dir(theirs)},
		{"/home/node/.wemixd/cosmovisor/upgrades/v2/", theirs}, // where it was made
		{"upgrades/v2", theirs},
	} {
		from := tc.from
		_ = os.Remove(filepath.Join(theirs, "current"))
		if err := os.Symlink(tc.link, filepath.Join(theirs, "current")); err != nil {
			t.Fatal(err)
		}
		h := Home{Root: t.TempDir(), Name: "wemixd"}
		for range 2 { // idempotent
			if err := h.Import(from); err != nil {
				t.Fatal(err)
			}
		}
		if want, have := "new", content(t, h); want != have {
			t.Fatalf("want %q, have %q", want, have)
		}
		if want, have := "v2", h.Current(); want != have {
			t.Fatalf("want current %q, have %q", want, have)
		}
	}
}

func TestSecondSupervisorWaitsThenIsRefused(t *testing.T) {
	t.Parallel()
	h := Home{Root: t.TempDir(), Name: "wemixd"}
	pid := fmt.Sprintf("in use by process %d ", os.Getpid())
	for _, tc := range []struct {
		what, told string
		timeout    time.Duration
		want       string
	}{
		{ForRun, "", 10 * time.Millisecond, pid + "(a supervisor); stop that one first, or raise lock-timeout"},
		{ForRun, "", 0, pid + "(a supervisor); stop that one first"},
		{"backup create", "", 0, pid + "(backup create); wait until that is done"},
		{ForRun, "1 another.host run", 0, "in use by process 1 on another.host (a supervisor); stop that one first"},
		{ForRun, "\n", 0, "in use by another process; try again"},
	} {
		first, err := h.Lock(context.Background(), time.Second, tc.what)
		if err != nil {
			t.Fatal(err)
		}
		if tc.told != "" {
			if err := os.WriteFile(h.lockFile(), []byte(tc.told), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		_, err = h.Lock(context.Background(), tc.timeout, ForRun)
		if !errors.Is(err, ErrLocked) || !strings.HasSuffix(err.Error(), tc.want) {
			t.Errorf("want ErrLocked and %q, have %v", tc.want, err)
		}
		first.Close()
	}
}

func TestHoldsSeesALockBelowTheDataDirectory(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	pgid := syscall.Getpgrp()
	if Holds(pgid, data) {
		t.Fatal("want no lock seen, have one")
	}
	if err := os.Mkdir(filepath.Join(data, "geth"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(data, "geth", "LOCK"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !Holds(pgid, data) {
		t.Fatal("want the lock seen")
	}
}

func TestValidName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"v2.0.0": true, "image-1.2_x+y": true, "": false, ".v2": false, "-v2": false, "a/b": false, "é": false,
		string(make([]byte, 129)): false,
	} {
		if have := ValidName(name) == nil; want != have {
			t.Errorf("%q: want %v, have %v", name, want, have)
		}
	}
}
