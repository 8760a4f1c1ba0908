package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// locks are the node's own lock files, held for as long as we work on its data:
// a node that is started by hand in the meantime says that the directory is in
// use, and ends.
type locks []*os.File

// take locks one of the node's lock files, or returns [ErrInUse]. Pebble and
// RocksDB lock with fcntl(2), the others with flock(2), and neither sees the
// other: both are asked.
func (l *locks) take(file string) error {
	f, err := os.OpenFile(file, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		f, err = os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("probe lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return lockError(file, err)
	}
	region := unix.Flock_t{Type: unix.F_WRLCK}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &region)
	if err == unix.EBADF { // opened to read only: it cannot be held, but asked for
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &region)
		if err == nil && region.Type != unix.F_UNLCK {
			err = unix.EAGAIN
		}
	}
	if err != nil && err != unix.EINVAL && err != unix.ENOSYS {
		f.Close()
		return lockError(file, err)
	}
	*l = append(*l, f)
	return nil
}

func lockError(file string, err error) error {
	if err == unix.EWOULDBLOCK || err == unix.EACCES {
		return fmt.Errorf("%w: a process holds %s; stop the node first", ErrInUse, file)
	}
	return fmt.Errorf("probe lock %s: %w", file, err)
}

// free lets go of all.
func (l *locks) free() {
	for _, f := range *l {
		unlock(f)
	}
	*l = nil
}

// unlock lets go of a lock and closes its file. Closing alone would not do at once:
// a child that is between its fork and its exec has the file open too.
func unlock(f *os.File) {
	_ = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK})
	_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
	f.Close()
}

// takeIn locks the lock files of one folder.
func (l *locks) takeIn(t Tree, rel string, entries []dirent) error {
	for _, e := range entries {
		if isLock(e) {
			if err := l.take(filepath.Join(t.at(rel), e.name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func isLock(e dirent) bool { return e.kind == 0 && (e.name == "LOCK" || e.name == "FLOCK") }

// ourLock keeps two of us from working on one data directory; ours is the folder
// .wemixvisor in it.
func ourLock(ours string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(ours, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		f, err = os.Open(ours) // a full volume is to be recovered too; on NFS a folder cannot be locked
	}
	if err != nil {
		return nil, fmt.Errorf("lock snapshots: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			return nil, fmt.Errorf("%w: another wemixvisor works on the snapshots of %s", ErrBusy, filepath.Dir(ours))
		}
		return nil, fmt.Errorf("lock snapshots of %s: %w", filepath.Dir(ours), err)
	}
	return f, nil
}
