package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// ownFolder is ours, in the root of a data directory.
const ownFolder = ".wemixvisor"

// Tree is a node's data directory, and what below it is not the node's: that is
// never part of a snapshot, a swap or an archive, whatever the layout. The
// folder .wemixvisor in the root never is.
type Tree struct {
	Root string   // absolute
	Own  []string // absolute paths: home's wemixvisor/, the repository
}

// Excluded is what a walk left out, and why. Its path is for people and JSON:
// bytes that are not UTF-8 are written %XX. Loss means that it may be data of the
// node: what lies behind a mount or outside the tree.
type Excluded struct {
	Path string `json:"path"`
	Why  string `json:"why"`
	Loss bool   `json:"loss,omitempty"`
}

// Walk calls f for every entry, a folder before what is in it, names in the
// order of their bytes, and returns what was left out. Entries of class Keep are
// handed to f with all below them, those of class Skip and what is not the node's
// are left out. A symlink is handed to f as a symlink; if it leads out of the
// tree it is reported too. What vanishes during the walk is not an error: the
// node may be running.
func (t Tree) Walk(ctx context.Context, f func(Entry) error) ([]Excluded, error) {
	t, err := t.resolve()
	if err != nil {
		return nil, err
	}
	m, err := readMounts()
	if err != nil {
		return nil, err
	}
	w := walk{tree: t, mounts: m, f: f}
	e, err := lookAt(t.Root, ".", Mutable)
	if err != nil {
		return nil, fmt.Errorf("walk %s: %w", t.Root, err)
	}
	if err := f(e); err != nil {
		return nil, err
	}
	if err := w.folder(ctx, ".", false); err != nil {
		return nil, fmt.Errorf("walk %s: %w", t.Root, err)
	}
	return w.excluded, nil
}

type walk struct {
	tree     Tree
	mounts   mounts
	f        func(Entry) error
	excluded []Excluded
}

func (w *walk) folder(ctx context.Context, rel string, inKeep bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := sortedDirents(w.tree.at(rel))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	classes, foreign := classify(rel, entries), w.tree.foreign(rel, w.mounts)
	for i, d := range entries {
		at, class := path.Join(rel, d.name), classes[i]
		if inKeep {
			class = Keep
		}
		why := excludes(d, class, foreign)
		if why != "" && (class != Keep || why != whyMount) { // a key that is mounted is still the key
			w.excluded = append(w.excluded, excluded(at, why))
			continue
		}
		e, err := lookAt(w.tree.Root, at, class)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if e.Target != "" {
			if out := w.tree.leads(at, e.Target, class); out != nil {
				w.excluded = append(w.excluded, *out)
			}
		}
		if err := w.f(e); err != nil {
			return err
		}
		if e.Mode.IsDir() {
			if err := w.folder(ctx, at, class == Keep); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	whyOwn   = "wemixvisor's own"
	whyLock  = "a lock"
	whySkip  = "a socket, pipe or device"
	whyFsck  = "the file system's own"
	whyMount = "a mount of its own"
)

// foreign returns the entries of a folder that are ours, or a mount of their own,
// and which. Nearly always there are none, so a folder of half a million files
// costs no more than one.
func (t Tree) foreign(rel string, m mounts) map[string]string {
	names := map[string]string{}
	dir := t.at(rel)
	for at := range m {
		if filepath.Dir(at) == dir {
			names[filepath.Base(at)] = whyMount
		}
	}
	for _, own := range append([]string{filepath.Join(t.Root, ownFolder)}, t.Own...) {
		if filepath.Dir(own) == dir {
			names[filepath.Base(own)] = whyOwn
		}
	}
	return names
}

// excludes says why an entry is not part of the tree; "" if it is.
func excludes(d dirent, class Class, foreign map[string]string) string {
	if len(foreign) > 0 {
		if why := foreign[d.name]; why != "" {
			return why
		}
	}
	switch {
	case class != Skip:
		return ""
	case d.kind == fs.ModeDir:
		return whyFsck
	case isLock(d):
		return whyLock
	}
	return whySkip
}

func excluded(at, why string) Excluded {
	return Excluded{Path: escapeName(at), Why: why, Loss: why == whyMount}
}

// leads says so if a symlink leads to something outside the tree.
func (t Tree) leads(at, target string, class Class) *Excluded {
	to, err := filepath.EvalSymlinks(t.at(at))
	if err != nil || to == t.Root || strings.HasPrefix(to, t.Root+"/") && !t.own(to) {
		return nil // dangling, or inside
	}
	return &Excluded{Path: escapeName(at), Why: "a symlink that leads out of the data directory, to " + target, Loss: class != Keep && class != Skip}
}

func (t Tree) own(full string) bool {
	if full == filepath.Join(t.Root, ownFolder) || strings.HasPrefix(full, filepath.Join(t.Root, ownFolder)+"/") {
		return true
	}
	for _, own := range t.Own {
		if full == own || strings.HasPrefix(full, own+"/") {
			return true
		}
	}
	return false
}

// at returns the full path of one that is relative to the root.
func (t Tree) at(rel string) string { return filepath.Join(t.Root, rel) }

// resolve returns the tree with every path as the kernel names it: mountinfo
// knows no symlinks.
func (t Tree) resolve() (Tree, error) {
	root, err := filepath.EvalSymlinks(t.Root)
	if err != nil {
		return t, fmt.Errorf("open data directory: %w", err)
	}
	if root, err = filepath.Abs(root); err != nil {
		return t, fmt.Errorf("open data directory: %w", err)
	}
	fi, err := os.Stat(root)
	if err != nil {
		return t, fmt.Errorf("open data directory: %w", err)
	}
	if !fi.IsDir() {
		return t, fmt.Errorf("open data directory: %s is not a folder", t.Root)
	}
	r := Tree{Root: root}
	for _, own := range t.Own {
		r.Own = append(r.Own, filepath.Clean(own))
		if real, err := filepath.EvalSymlinks(own); err == nil && real != filepath.Clean(own) {
			r.Own = append(r.Own, real)
		}
	}
	return r, nil
}
