package backup

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/e2e/chaindata"
)

var ctx = context.Background()

// small is a node's data that is made in no time, with something of all classes.
var small = chaindata.Shape{Tables: 12, TableSize: 40 << 10, Logs: 2, LogSize: 30 << 10, Sealed: 2, FileSize: 20 << 10, Seed: 7}

// noFloor leaves nothing free for a node: the tests' file systems are small.
var noFloor = Floor{Bytes: 1}

// dataDir makes a data directory below dir, with what is hard to keep.
func dataDir(t testing.TB, dir string) string {
	t.Helper()
	root := filepath.Join(dir, "data")
	if _, err := chaindata.Make(root, small); err != nil {
		t.Fatal(err)
	}
	odd := filepath.Join(root, "geth", "odd")
	write(t, filepath.Join(odd, "with space and\nnewline"), "1")
	write(t, filepath.Join(odd, "not utf-8 \xff%"), "2")
	write(t, filepath.Join(odd, strings.Repeat("n", 255)), "3")
	write(t, filepath.Join(odd, "secret"), "4")
	write(t, filepath.Join(odd, "empty"), "")
	for _, err := range []error{
		os.Chmod(filepath.Join(odd, "secret"), 0o600),
		os.Mkdir(filepath.Join(odd, "empty folder"), 0o750),
		os.Symlink("../chaindata/CURRENT", filepath.Join(odd, "link")),
		os.Symlink("nowhere", filepath.Join(odd, "dangling")),
		os.Link(filepath.Join(odd, "secret"), filepath.Join(odd, "second name")),
		os.Chtimes(filepath.Join(odd, "secret"), time.Unix(1, 0), time.Unix(1000000000, 123456789)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(root, "upgrade-info.json"), `{"name":"v2"}`)
	write(t, filepath.Join(root, "upgrades/100/upgrade-info.json"), `{"name":"v3"}`)
	f, err := os.Create(filepath.Join(odd, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("far out"), 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(5 << 30); err != nil {
		t.Fatal(err)
	}
	return root
}

func snapshotter(root string) *Snapshotter {
	return NewSnapshotter(SnapshotterConfig{Tree: Tree{Root: root}, Floor: noFloor})
}

// commit makes a snapshot, prepared first.
func commit(t testing.TB, s *Snapshotter) Snapshot {
	t.Helper()
	if _, err := s.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	snap, err := s.Commit(ctx, "test", Origin{Height: 7, CleanShutdown: true, Consistency: Stopped})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// image says all of a tree that a node could see: names, types, modes, owners,
// times of files, holes of big ones, and contents. What is ours is left out, and so
// are, with data alone, the identity and what a snapshot does without.
func image(t testing.TB, root string, dataAlone bool) map[string]string {
	t.Helper()
	have := map[string]string{}
	names := map[uint64][]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		if rel == ownFolder {
			return filepath.SkipDir
		}
		if rel == "." {
			return nil
		}
		if dataAlone {
			class := classify(filepath.Dir(rel), []dirent{{name: d.Name(), kind: d.Type()}})[0]
			if class == Keep || class == Skip {
				if d.IsDir() {
					return filepath.SkipDir
				}
				return nil
			}
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		text := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid)
		if !d.IsDir() || dataAlone {
			text += fmt.Sprintf(" %d", st.Mtim.Nano())
		}
		switch {
		case d.Type() == fs.ModeSymlink:
			to, _ := os.Readlink(p)
			text += " " + to
		case d.Type().IsRegular():
			if st.Nlink > 1 {
				names[st.Ino] = append(names[st.Ino], rel)
			}
			text += fmt.Sprintf(" %d %x", st.Size, sum(t, p))
		}
		have[rel] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, same := range names {
		if sort.Strings(same); len(same) > 1 {
			have["names of one file: "+strings.Join(same, ", ")] = ""
		}
	}
	return have
}

// sum hashes a file; of one that is mostly a hole, what is not.
func sum(t testing.TB, file string) []byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for at := int64(0); ; {
		start, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			return h.Sum(nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		n, _ := f.ReadAt(buf, start)
		if n == 0 {
			return h.Sum(nil)
		}
		if strings.Trim(string(buf[:n]), "\x00") != "" {
			fmt.Fprintf(h, "%d", start)
			h.Write(buf[:n])
		}
		at = start + int64(n)
	}
}

// same compares two images and names the first few differences.
func same(t testing.TB, what string, want, have map[string]string) {
	t.Helper()
	n := 0
	for p, w := range want {
		if h, ok := have[p]; !ok || h != w {
			if n++; n < 6 {
				t.Errorf("%s: %q: want %q, have %q", what, p, w, h)
			}
		}
	}
	for p := range have {
		if _, ok := want[p]; !ok {
			if n++; n < 6 {
				t.Errorf("%s: %q is there and should not be", what, p)
			}
		}
	}
	if n > 0 {
		t.Fatalf("%s: %d differences", what, n)
	}
}

// run on is what a node does to its data: it writes logs, compacts, freezes, cuts
// the freezer's newest file in place, and recycles a log under the same size.
func runOn(t testing.TB, root string) {
	t.Helper()
	store := filepath.Join(root, "geth", "chaindata")
	ancient := filepath.Join(store, "ancient", "chain")
	for _, err := range []error{
		os.Remove(filepath.Join(store, "000010.sst")),
		os.Remove(filepath.Join(store, "000011.sst")),
		os.WriteFile(filepath.Join(store, "000900.sst"), []byte("compacted"), 0o644),
		os.Truncate(filepath.Join(ancient, "bodies.0002.cdat"), 100),
		appendTo(filepath.Join(ancient, "headers.0002.cdat"), "more"),
		os.WriteFile(filepath.Join(ancient, "headers.0003.cdat"), []byte("newest"), 0o644),
		overwrite(filepath.Join(store, "000022.log"), "recycled in place"),
		os.WriteFile(filepath.Join(store, "MANIFEST-000001"), []byte("m"), 0o644),
		os.RemoveAll(filepath.Join(root, "geth", "nodes")),
		os.WriteFile(filepath.Join(root, "geth", "nodekey"), []byte("a newer key"), 0o600),
		os.WriteFile(filepath.Join(root, "new at the root"), nil, 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func appendTo(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

func overwrite(file, text string) error { return overwriteAt(file, 0, text) }

func overwriteAt(file string, at int64, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte(text), at)
	return err
}

// unixTime takes the time out of what image says of a folder.
func unixTime(text string) time.Time {
	var mode, uid, gid, ns int64
	_, _ = fmt.Sscanf(text, "%o %d:%d %d", &mode, &uid, &gid, &ns)
	return time.Unix(0, ns)
}
