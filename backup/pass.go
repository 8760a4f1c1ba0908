package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// pass goes once through the tree and makes the mirror follow it: what can be
// linked is, what must be copied is noted, what is no longer there goes.
//
// In the window it looks at no file that is linked already: the folders' own
// entries tell by inode, and half a million of them are read in a second.
type pass struct {
	*draft
	window  bool
	ledger  *ledgerWriter
	locks   *locks // taken on the way, in the window
	begun   time.Time
	jobs    []job
	folders []string          // each before what is in it
	inodes  map[uint64]string // copied files that have further names: the first one

	files, linked int
	bytes         int64 // of the files that the window copies
	toCopy        int64 // for the window
	staged        int64
	excluded      []Excluded
	kept          []string
}

// job is a file to copy, or, with same, one that is another name of a copy.
type job struct {
	e     Entry
	stage bool
	same  string
}

func (p *pass) folder(ctx context.Context, rel string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := readDirents(p.tree.at(rel))
	if errors.Is(err, fs.ErrNotExist) && !p.window {
		return nil
	}
	if err != nil {
		return err
	}
	if p.locks != nil { // before anything is taken of what it guards
		if err := p.locks.takeIn(p.tree, rel, entries); err != nil {
			return err
		}
	}
	err = os.Mkdir(p.mirror(rel), 0o700)
	if errors.Is(err, fs.ErrExist) {
		err = os.Chmod(p.mirror(rel), 0o700) // a window that was broken off had closed it
	}
	if err != nil {
		return err
	}
	p.folders = append(p.folders, rel)
	mirrored, err := readDirents(p.mirror(rel))
	if err != nil {
		return err
	}
	classes, foreign := classify(rel, entries), p.tree.foreign(rel, p.mounts)
	has := map[string]dirent{}
	if p.window {
		if entries, classes, mirrored, err = p.skipLinked(ctx, rel, entries, classes, mirrored); err != nil {
			return err
		}
	}
	for _, m := range mirrored {
		has[m.name] = m
	}
	for i, e := range entries {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		at, class := path.Join(rel, e.name), classes[i]
		if class == Keep {
			p.kept = append(p.kept, at)
			continue
		}
		if why := excludes(e, class, foreign); why != "" {
			p.excluded = append(p.excluded, excluded(at, why))
			continue
		}
		m, ok := has[e.name]
		delete(has, e.name)
		if ok && m.kind != e.kind {
			if err := p.stale(at, m); err != nil {
				return err
			}
			ok = false
		}
		err := p.entry(ctx, at, e, class, m, ok)
		if errors.Is(err, fs.ErrNotExist) && !p.window { // it went while we looked
			continue
		}
		if err != nil {
			return err
		}
	}
	for name, gone := range has {
		if err := p.stale(path.Join(rel, name), gone); err != nil {
			return err
		}
	}
	return nil
}

// skipLinked leaves of a folder's entries, here and in the mirror, those that are
// not one linked file: that is all there is to do, and in the window it must cost
// nothing. What the first ledger says of the others still holds.
func (p *pass) skipLinked(ctx context.Context, rel string, entries []dirent, classes []Class, mirrored []dirent) ([]dirent, []Class, []dirent, error) {
	byInode := make(map[uint64]int32, len(mirrored))
	for i, m := range mirrored {
		byInode[m.ino] = int32(i)
	}
	young := p.youngIn[rel]
	linked := make([]bool, len(mirrored))
	n := 0
	for i, e := range entries {
		if i%65536 == 0 && ctx.Err() != nil {
			return nil, nil, nil, ctx.Err()
		}
		if classes[i] == Immutable || classes[i] == Sealed {
			j, ok := byInode[e.ino]
			if _, again := young[e.name]; ok && !again && !linked[j] && mirrored[j].name == e.name && mirrored[j].kind == e.kind {
				linked[j] = true
				p.files++
				p.linked++
				continue
			}
		}
		entries[n], classes[n] = e, classes[i]
		n++
	}
	rest := mirrored[:0]
	for j, m := range mirrored {
		if !linked[j] {
			rest = append(rest, m)
		}
	}
	return entries[:n], classes[:n], rest, nil
}

func (p *pass) entry(ctx context.Context, at string, e dirent, class Class, m dirent, has bool) error {
	switch {
	case e.kind == fs.ModeDir:
		return p.folder(ctx, at)
	case e.kind == fs.ModeSymlink:
		return p.symlink(at, class)
	case class == Immutable || class == Sealed:
		return p.fixed(at, e, class, m, has)
	}
	return p.loose(at, class)
}

// fixed takes a file that the node does not write to again.
func (p *pass) fixed(at string, e dirent, class Class, m dirent, has bool) error {
	p.files++
	if has && m.ino == e.ino {
		p.linked++
		return p.record(at, class)
	}
	from, ctime, err := lookWithChange(p.tree.Root, at, class)
	if err != nil {
		return err
	}
	if known, ok := p.sources[at]; ok && has && known == sourceOf(from, ctime) {
		if !p.window {
			p.shared += from.Size
			p.ledger.add(lineOf(lineCopy, from))
		}
		return nil
	}
	if has {
		if err := p.stale(at, m); err != nil {
			return err
		}
	}
	ok, err := p.link(at)
	if err != nil {
		return err
	}
	if ok {
		p.linked++
		return p.record(at, class)
	}
	if p.window {
		p.bytes += from.Size
	} else {
		p.shared += from.Size
	}
	p.jobs = append(p.jobs, job{e: from})
	return nil
}

// record puts into the ledger what a linked file is now.
func (p *pass) record(at string, class Class) error {
	e, err := lookAt(p.mirror("."), at, class)
	if err != nil {
		return err
	}
	p.shared += e.Size - p.young(at) // which is 0 for a new one
	if class == Sealed || e.ModTime.After(p.begun.Add(-youngFor)) {
		dir, name := path.Split(at)
		dir = path.Clean(dir)
		if p.youngIn[dir] == nil {
			p.youngIn[dir] = map[string]int64{}
		}
		p.youngIn[dir][name] = e.Size
	}
	p.ledger.add(lineOf(lineLink, e))
	return nil
}

// loose takes a file that the node may write to: its copy is ours alone.
func (p *pass) loose(at string, class Class) error {
	e, err := lookAt(p.tree.Root, at, class)
	if err != nil {
		return err
	}
	p.files++
	p.bytes += e.Size
	p.shared -= p.young(at) // it was sealed, and is the newest again
	stage := class == Append && e.Size > stageAbove
	if !p.window {
		if unix.Access(p.tree.at(at), unix.R_OK) == unix.EACCES { // better now than with the node down
			return &fs.PathError{Op: "read", Path: p.tree.at(at), Err: fs.ErrPermission}
		}
		if stage {
			p.jobs = append(p.jobs, job{e: e, stage: true})
		} else {
			p.toCopy += e.allocated()
		}
		return nil
	}
	j := job{e: e, stage: stage}
	if e.Links > 1 {
		if first, ok := p.inodes[e.Ino]; ok {
			j.same = first
		} else {
			p.inodes[e.Ino] = at
		}
	}
	p.jobs = append(p.jobs, j)
	return nil
}

func (p *pass) symlink(at string, class Class) error {
	e, err := lookAt(p.tree.Root, at, class)
	if err != nil {
		return err
	}
	if out := p.tree.leads(at, e.Target, class); out != nil {
		p.excluded = append(p.excluded, *out)
	}
	if !p.window {
		return nil
	}
	to := p.mirror(at)
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(e.Target, to); err != nil {
		return spaceError(err)
	}
	if err := os.Lchown(to, e.UID, e.GID); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return setTime(to, e)
}

// stale takes out of the mirror what the tree no longer has.
func (p *pass) stale(at string, e dirent) error {
	if e.kind == fs.ModeDir {
		inside, err := readDirents(p.mirror(at))
		if err != nil {
			return err
		}
		for _, i := range inside {
			if err := p.stale(path.Join(at, i.name), i); err != nil {
				return err
			}
		}
		return os.Remove(p.mirror(at))
	}
	if p.window {
		if e, err := lookAt(p.mirror("."), at, Mutable); err == nil && e.Mode.IsRegular() {
			p.shared -= e.Size
		}
		p.ledger.add(ledgerLine{kind: lineGone, path: at})
	}
	delete(p.sources, at)
	delete(p.youngIn[path.Dir(at)], path.Base(at))
	return os.Remove(p.mirror(at))
}

// leftOut returns what is not part of the snapshot, by path.
func (p *pass) leftOut() []Excluded {
	slices.SortFunc(p.excluded, func(a, b Excluded) int { return strings.Compare(a.Path, b.Path) })
	return append([]Excluded{}, p.excluded...)
}

// lookWithChange is lookAt, and the time at which the inode last changed.
func lookWithChange(root, rel string, class Class) (Entry, int64, error) {
	var st unix.Stat_t
	full := path.Join(root, rel)
	if err := unix.Lstat(full, &st); err != nil {
		return Entry{}, 0, &fs.PathError{Op: "lstat", Path: full, Err: err}
	}
	e := entryOf(&st)
	e.Path, e.Class = rel, class
	return e, st.Ctim.Nano(), nil
}
