package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Prepared is what [Snapshotter.Prepare] found and made.
type Prepared struct {
	Method   string // [ByLink], or how files are taken that cannot be linked
	Files    int
	Linked   int
	Staged   int64 // bytes copied ahead: of what cannot be linked, and of what only grows
	ToCopy   int64 // bytes that are left for the window, as far as can be told
	Partial  string
	Excluded []Excluded
	Warnings []string
}

// youngFor is how long after its last write a file may still be being written.
// What the ledger says of a younger one is looked up again in the window.
const youngFor = 10 * time.Minute

// stageAbove is the size from which a file that grows at its end is copied ahead.
const stageAbove = 64 << 20

// draft is a snapshot in the making, in .next: the mirror tree, and what is known
// of it. A link explains itself, by its inode; of a copy it must be remembered of
// what it is one.
type draft struct {
	*site
	external []string
	copier   copier
	sources  map[string]source           // by path: what a copy in the mirror was made from
	youngIn  map[string]map[string]int64 // by folder and name: linked files to look at again in the window, and their size
	refused  map[unix.Errno]int          // links that could not be made, and why
	shared   int64                       // bytes of the files that need not be copied in the window
	ready    bool                        // the first ledger is whole
}

// source tells whether a file is still the one that was copied. An inode is not
// enough: it is given away again when its file is deleted.
type source struct {
	ino          uint64
	size         int64
	mtime, ctime int64
}

func sourceOf(e Entry, ctime int64) source {
	return source{ino: e.Ino, size: e.Size, mtime: e.ModTime.UnixNano(), ctime: ctime}
}

func (d *draft) dir() string              { return d.site.draft() }
func (d *draft) mirror(rel string) string { return filepath.Join(d.dir(), mirrorFolder, rel) }

// young returns the size that a file to look at again had; 0 for others.
func (d *draft) young(at string) int64 { return d.youngIn[filepath.Dir(at)][filepath.Base(at)] }

// newDraft starts from nothing: what an earlier process left is nobody's now.
func (s *Snapshotter) newDraft(ctx context.Context, at *site) (*draft, error) {
	d := &draft{site: at, sources: map[string]source{}, youngIn: map[string]map[string]int64{}, refused: map[unix.Errno]int{}}
	if err := d.erase(ctx); err != nil {
		return nil, err
	}
	err := makeFolders(at.snapshots())
	if err == nil {
		err = os.MkdirAll(d.mirror("."), 0o700)
	}
	if err != nil {
		_ = d.erase(ctx)
		return nil, fmt.Errorf("prepare snapshot: %w", spaceError(err))
	}
	d.copier.noClone.Store(!clones(d.dir()))
	return d, nil
}

func (d *draft) erase(ctx context.Context) error { return removeTree(ctx, d.dir(), d.mounts) }

// clones reports whether the file system of dir makes reflinks.
func clones(dir string) bool {
	from, err := os.CreateTemp(dir, "probe-")
	if err != nil {
		return false
	}
	defer from.Close()
	defer os.Remove(from.Name())
	to, err := os.CreateTemp(dir, "probe-")
	if err != nil {
		return false
	}
	defer to.Close()
	defer os.Remove(to.Name())
	if _, err := from.Write(make([]byte, 64<<10)); err != nil {
		return false
	}
	return unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil
}

// link gives a file a second name in the mirror. It reports false when that
// cannot be, for a reason that a copy does not have.
func (d *draft) link(rel string) (bool, error) {
	err := unix.Linkat(unix.AT_FDCWD, d.tree.at(rel), unix.AT_FDCWD, d.mirror(rel), 0)
	switch err {
	case nil:
		return true, nil
	case unix.EXDEV, unix.EPERM, unix.EACCES, unix.EOPNOTSUPP, unix.ENOSYS, unix.EMLINK:
		d.refused[err.(unix.Errno)]++
		return false, nil
	}
	return false, &fs.PathError{Op: "link", Path: d.tree.at(rel), Err: spaceError(err)}
}

func (d *draft) method() string {
	switch {
	case len(d.refused) == 0:
		return ByLink
	case d.copier.noClone.Load():
		return ByCopy
	}
	return ByReflink
}

// warnings says what makes this snapshot dearer than it could be, and the cure.
func (d *draft) warnings() []string {
	all := []string{}
	for why, n := range d.refused {
		cure := ""
		switch why {
		case unix.EPERM, unix.EACCES:
			cure = fmt.Sprintf("; the kernel links only files of one's own (fs.protected_hardlinks): chown -R %d:%d %s, or in Kubernetes set fsGroup with fsGroupChangePolicy: OnRootMismatch",
				os.Geteuid(), os.Getegid(), d.tree.Root)
		case unix.EXDEV:
			cure = "; " + d.ours + " and the data must be on one mount"
		case unix.EMLINK:
			cure = "; the files have as many names as the file system allows: drop old snapshots"
		}
		how := "copied ahead while the node runs"
		if !d.copier.noClone.Load() {
			how = "reflinked"
		}
		all = append(all, fmt.Sprintf("%d files cannot be hard-linked (%s) and are %s%s", n, why.Error(), how, cure))
	}
	slices.Sort(all)
	return all
}

// outside returns the paths of the node's data that are not in the tree.
func (d *draft) outside() []Excluded {
	var out []Excluded
	if d.mounts[d.ours] || d.mounts.below(d.ours) != "" {
		out = append(out, Excluded{Path: ownFolder, Why: "a mount of its own, out of which nothing can be renamed into the data", Loss: true})
	}
	for _, p := range d.external {
		real, err := filepath.EvalSymlinks(p)
		if err != nil {
			real = filepath.Clean(p)
		}
		if real != d.tree.Root && !strings.HasPrefix(real, d.tree.Root+"/") {
			out = append(out, Excluded{Path: escapeName(p), Why: "outside the data directory", Loss: true})
		}
	}
	return out
}

// Prepare does what can be done of a snapshot while the node runs: it links what
// the node never writes to again, copies ahead what cannot be linked and what only
// grows, and sees to the room for the rest. It may be called again at any time,
// and then does what has come up since. If there is no room it leaves nothing
// behind and returns [ErrNoSpace].
func (s *Snapshotter) Prepare(ctx context.Context) (Prepared, error) {
	at, end, err := s.begin(ctx)
	if err != nil {
		return Prepared{}, fmt.Errorf("prepare snapshot: %w", err)
	}
	defer end()
	return s.prepare(ctx, at)
}

func (s *Snapshotter) prepare(ctx context.Context, at *site) (p Prepared, err error) {
	if exists(at.journal()) {
		return p, fmt.Errorf("prepare snapshot: %w", ErrUnfinished)
	}
	d := s.next
	if d == nil || d.tree.Root != at.tree.Root || !exists(d.mirror(".")) {
		if d, err = s.newDraft(ctx, at); err != nil {
			return p, err
		}
		s.next = d
	}
	d.site, d.ready = at, false
	if s.cfg.External != nil {
		d.external = s.cfg.External()
	}
	defer func() {
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			s.abandon(ctx, d)
		}
	}()
	w, err := d.ahead(ctx, s.cfg)
	if err != nil {
		return p, fmt.Errorf("prepare snapshot: %w", err)
	}
	d.ready = true
	return Prepared{
		Method: d.method(), Files: w.files, Linked: w.linked, Staged: w.staged, ToCopy: w.toCopy,
		Partial: partial(w.excluded), Excluded: w.leftOut(), Warnings: d.warnings(),
	}, nil
}

// abandon leaves no trace of a snapshot that could not be made; what cannot be
// deleted now is swept at the next start.
func (s *Snapshotter) abandon(ctx context.Context, d *draft) {
	s.next = nil
	_ = d.erase(context.WithoutCancel(ctx))
}
