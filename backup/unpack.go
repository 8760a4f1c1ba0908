package backup

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// unpacker makes files of items. It never leaves root: whatever an item is
// called, its folder is one that the unpacker made, and is held open.
type unpacker struct {
	root    *os.Root
	secrets bool
	owner   bool // we may give files away

	folders []openFolder // from the root to the one that we are in
	file    *os.File     // being written
	at      int64
	sparse  bool
	skip    bool // the item is a secret that nobody asked for
}

// openFolder is one that still gets entries. Its mode and time come last: the
// one may forbid to write, the other changes with each entry.
type openFolder struct {
	item Item
	root *os.Root
	self *os.File
}

// begin makes what the item is, without its content.
func (u *unpacker) begin(it *Item) error {
	at := string(it.Path)
	if u.skip = !u.secrets && (it.Secret || IsIdentity(at)); u.skip {
		return nil
	}
	if at == "." {
		root, err := u.root.OpenRoot(".")
		if err != nil {
			return err
		}
		return u.enter(it, root)
	}
	dir, name := path.Split(at)
	if dir = path.Clean(dir); !u.isOpen(dir) {
		return fmt.Errorf("%w: its folder is not one of the archive", ErrCorrupt)
	}
	if err := u.leave(dir); err != nil {
		return err
	}
	in := u.top()
	switch it.Type {
	case itemFolder:
		if err := in.root.Mkdir(name, 0o700); err != nil {
			return err
		}
		root, err := in.root.OpenRoot(name)
		if err != nil {
			return err
		}
		return u.enter(it, root)
	case itemFile:
		f, err := in.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		u.file, u.at, u.sparse = f, 0, it.Sparse
		return nil
	case itemSymlink:
		if err := in.root.Symlink(string(it.Target), name); err != nil {
			return err
		}
		if u.owner {
			if err := in.root.Lchown(name, it.UID, it.GID); err != nil {
				return err
			}
		}
		return setTimeIn(in.self, name, it.MTime)
	case itemHardLink:
		return u.root.Link(string(it.Target), at)
	}
	return nil
}

func (u *unpacker) isOpen(dir string) bool {
	for _, f := range u.folders {
		if string(f.item.Path) == dir {
			return true
		}
	}
	return false
}

func (u *unpacker) top() *openFolder { return &u.folders[len(u.folders)-1] }

func (u *unpacker) enter(it *Item, root *os.Root) error {
	self, err := root.Open(".")
	if err != nil {
		root.Close()
		return err
	}
	u.folders = append(u.folders, openFolder{*it, root, self})
	return nil
}

// leave finishes the open folders that are below one of them; all, if that is "".
func (u *unpacker) leave(below string) error {
	for len(u.folders) > 0 && string(u.top().item.Path) != below {
		if err := u.leaveTop(); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) leaveTop() error {
	f := u.top()
	u.folders = u.folders[:len(u.folders)-1]
	defer f.root.Close()
	defer f.self.Close()
	return u.dress(f)
}

// dress gives a folder its owner, time and mode.
func (u *unpacker) dress(f *openFolder) error {
	if u.owner {
		if err := f.self.Chown(f.item.UID, f.item.GID); err != nil {
			return err
		}
	}
	if err := setTimeIn(f.self, ".", f.item.MTime); err != nil {
		return err
	}
	return f.self.Chmod(f.item.Mode.mode())
}

// write adds to the file. Of a file that had holes, blocks of zeros become holes.
func (u *unpacker) write(p []byte) error {
	if u.skip {
		return nil
	}
	if !u.sparse {
		n, err := u.file.Write(p)
		u.at += int64(n)
		return err
	}
	for len(p) > 0 {
		const block = 4 << 10
		n := min(len(p), block-int(u.at%block))
		if !blank(p[:n]) {
			if _, err := u.file.WriteAt(p[:n], u.at); err != nil {
				return err
			}
		}
		u.at, p = u.at+int64(n), p[n:]
	}
	return nil
}

// end gives the file what else it has: owner, mode, time.
func (u *unpacker) end(it *Item) (err error) {
	f := u.file
	if u.file = nil; f == nil || u.skip {
		return nil
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if u.sparse {
		if err := f.Truncate(it.Size); err != nil {
			return err
		}
	}
	if u.owner {
		if err := f.Chown(it.UID, it.GID); err != nil {
			return err
		}
	}
	if it.Mode != 0o600 {
		if err := f.Chmod(it.Mode.mode()); err != nil {
			return err
		}
	}
	return setTimeIn(u.top().self, path.Base(string(it.Path)), it.MTime)
}

// Close closes what an error left open.
func (u *unpacker) Close() {
	if u.file != nil {
		u.file.Close()
	}
	for _, f := range u.folders {
		f.self.Close()
		f.root.Close()
	}
}

// setTimeIn sets the modification time of a name in dir, be it a symlink's own.
func setTimeIn(dir *os.File, name string, ns int64) error {
	t := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(ns)}
	if err := unix.UtimesNanoAt(int(dir.Fd()), name, t, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "set time", Path: name, Err: err}
	}
	return nil
}

// IsIdentity reports whether a path, relative to the data directory, is by its name
// the node's identity, or in a folder of it: a manifest's word that it is none is not
// enough.
func IsIdentity(at string) bool {
	for ; at != "."; at = path.Dir(at) {
		if keeps(path.Dir(at), path.Base(at)) {
			return true
		}
	}
	return false
}
