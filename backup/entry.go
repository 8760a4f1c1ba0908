package backup

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Entry is one file or folder of a tree.
type Entry struct {
	Path  string // relative to the root, with slashes, as the bytes on disk; the root is "."
	Class Class

	Mode     fs.FileMode // type, permission and setuid bits
	Size     int64
	ModTime  time.Time
	UID, GID int
	Dev, Ino uint64
	Links    uint64 // names that the inode has, in and outside the tree
	Blocks   int64  // of 512 bytes: fewer than Size needs means holes
	Target   string // of a symlink
}

// allocated is the room that a copy of a file takes: holes take none.
func (e Entry) allocated() int64 { return min(e.Size, e.Blocks*512) }

// lookAt reads one entry; it never follows a symlink.
func lookAt(root, rel string, class Class) (Entry, error) {
	full := filepath.Join(root, rel)
	var st unix.Stat_t
	if err := unix.Lstat(full, &st); err != nil {
		return Entry{}, &fs.PathError{Op: "lstat", Path: full, Err: err}
	}
	e := entryOf(&st)
	e.Path, e.Class = rel, class
	if e.Mode.Type() == fs.ModeSymlink {
		to, err := os.Readlink(full)
		if err != nil {
			return Entry{}, err
		}
		e.Target = to
	}
	return e, nil
}

func entryOf(st *unix.Stat_t) Entry {
	return Entry{
		Mode: modeOf(st.Mode), Size: st.Size, ModTime: time.Unix(st.Mtim.Sec, st.Mtim.Nsec),
		UID: int(st.Uid), GID: int(st.Gid), Dev: st.Dev, Ino: st.Ino,
		Links: uint64(st.Nlink), Blocks: st.Blocks,
	}
}

func modeOf(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	}
	if m&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if m&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if m&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}
