package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
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
	if p.window { // before anything is taken of what it guards
		for _, e := range entries {
			if isLock(e) && !kept(path.Join(rel, e.name)) {
				if err := p.locks.take(p.tree.at(path.Join(rel, e.name))); err != nil {
					return err
				}
			}
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
	classes := classify(rel, entries)
	for i, e := range entries {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		at := path.Join(rel, e.name)
		if out := p.tree.excludes(at, e, classes[i], p.mounts); out != nil && classes[i] != Keep {
			p.excluded = append(p.excluded, *out)
			continue
		}
		if classes[i] == Keep {
			p.kept = append(p.kept, at)
			continue
		}
		var has *dirent
		for len(mirrored) > 0 && mirrored[0].name <= e.name {
			if mirrored[0].name == e.name {
				has = &mirrored[0]
			} else if err := p.stale(path.Join(rel, mirrored[0].name), mirrored[0]); err != nil {
				return err
			}
			mirrored = mirrored[1:]
		}
		if has != nil && has.kind != e.kind {
			if err := p.stale(at, *has); err != nil {
				return err
			}
			has = nil
		}
		err := p.entry(ctx, at, e, classes[i], has)
		if errors.Is(err, fs.ErrNotExist) && !p.window { // it went while we looked
			continue
		}
		if err != nil {
			return err
		}
	}
	for _, gone := range mirrored {
		if err := p.stale(path.Join(rel, gone.name), gone); err != nil {
			return err
		}
	}
	return nil
}

func (p *pass) entry(ctx context.Context, at string, e dirent, class Class, has *dirent) error {
	switch {
	case e.kind == fs.ModeDir:
		return p.folder(ctx, at)
	case e.kind == fs.ModeSymlink:
		return p.symlink(at, class)
	case class == Immutable || class == Sealed:
		return p.fixed(at, e, class, has)
	}
	return p.loose(at, class)
}

// fixed takes a file that the node does not write to again.
func (p *pass) fixed(at string, e dirent, class Class, has *dirent) error {
	p.files++
	if has != nil && has.ino == e.ino {
		p.linked++
		if _, young := p.young[at]; p.window && !young {
			return nil // what the first ledger says still holds
		}
		return p.record(at, class)
	}
	from, ctime, err := lookWithChange(p.tree.Root, at, class)
	if err != nil {
		return err
	}
	if known, ok := p.sources[at]; ok && has != nil && known == sourceOf(from, ctime) {
		if !p.window {
			p.shared += from.Size
			p.ledger.add(lineOf(lineCopy, from))
		}
		return nil
	}
	if has != nil {
		if err := p.stale(at, *has); err != nil {
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
	p.shared += e.Size - p.young[at] // which is 0 for a new one
	if class == Sealed || e.ModTime.After(p.begun.Add(-youngFor)) {
		p.young[at] = e.Size
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
	p.shared -= p.young[at] // it was sealed, and is the newest again
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
	delete(p.young, at)
	return os.Remove(p.mirror(at))
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
