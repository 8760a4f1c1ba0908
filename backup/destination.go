package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/backup/durable"
	"github.com/wemix/wemixvisor/backup/failpoint"
)

// destination is the folder that an archive is extracted into.
//
// One that is not there yet is made beside its place, under a name that says what it
// is, and renamed when all of it is durable: under its own name it is whole, whatever
// happens. One that is there is filled where it is, as it may be a mount point, or
// what somebody has mounted elsewhere; a file in it says that it is not complete,
// until it is.
type destination struct {
	to   string   // absolute
	work string   // what is written to
	made bool     // it was not there
	self *os.File // work, open since before the first byte; locked
}

// unfinished lies in a folder, or begins the name of one, as long as not all of an
// archive is there.
const unfinished = ".wemixvisor-unfinished"

// openDestination makes the folder, or sees that nothing is in it.
func openDestination(to string) (*destination, error) {
	to, err := filepath.Abs(to)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(to)
	if errors.Is(err, fs.ErrNotExist) {
		if exists(to) {
			return nil, fmt.Errorf("%s is a symlink that leads nowhere: delete it first", to)
		}
		return besideOf(to)
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		switch e.Name() {
		case "lost+found": // a fresh volume has it
		case unfinished:
			return nil, fmt.Errorf("%s holds an extraction that is under way or was broken off: if nobody is at it, empty the folder first", to)
		default:
			return nil, fmt.Errorf("%s is not empty: extract into a fresh folder", to)
		}
	}
	d := &destination{to: to, work: to}
	if err := d.lock(); err != nil {
		return nil, err
	}
	failpoint.At("archive.extract.folder")
	// Exclusive: of two that found the folder empty one fills it.
	mark, err := os.OpenFile(filepath.Join(to, unfinished), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = mark.WriteString("An archive is being extracted here, or was, and is not complete.\n")
		err = errors.Join(err, mark.Close())
	}
	if err != nil {
		d.self.Close()
		return nil, err
	}
	failpoint.At("archive.extract.marked")
	return d, nil
}

// besideOf makes the folder in which to grow, and deletes what a process that died
// has left of one.
func besideOf(to string) (*destination, error) {
	parent, name := filepath.Split(to)
	if err := makeFolders(filepath.Clean(parent)); err != nil {
		return nil, err
	}
	d := &destination{to: to, made: true, work: filepath.Join(parent, unfinished+"-"+name[:min(len(name), 200)])}
	if exists(d.work) {
		if err := d.lock(); err != nil {
			return nil, err
		}
		err := os.RemoveAll(d.work)
		d.self.Close()
		if err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(d.work, 0o700); errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w: another extraction into %s has begun", ErrBusy, to)
	} else if err != nil {
		return nil, err
	}
	if err := d.lock(); err != nil {
		return nil, err
	}
	failpoint.At("archive.extract.folder")
	return d, nil
}

// lock opens the folder, and keeps a second extraction out of it.
func (d *destination) lock() error {
	// No symlink of somebody else's is followed, in a folder like /tmp; to is resolved
	// by whoever named it.
	flags := os.O_RDONLY | unix.O_DIRECTORY
	if d.made {
		flags |= unix.O_NOFOLLOW
	}
	f, err := os.OpenFile(d.work, flags, 0)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == unix.EWOULDBLOCK { // other errors: a file system that cannot lock folders
		f.Close()
		return fmt.Errorf("%w: another extraction into %s is under way", ErrBusy, d.to)
	}
	d.self = f
	return nil
}

// finish gives the folder itself what the archive says of it, makes all of it
// durable, and only then lets it be taken for whole.
func (d *destination) finish(u *unpacker) error {
	if d.made {
		if err := u.leave(""); err != nil {
			return err
		}
		failpoint.At("archive.extract.written")
		if err := d.sync(); err != nil {
			return err
		}
		failpoint.At("archive.extract.synced")
		if err := os.Rename(d.work, d.to); err != nil {
			return err
		}
		d.work = d.to
		failpoint.At("archive.extract.renamed")
		return durable.SyncDir(filepath.Dir(d.to))
	}
	// Where it is, only the folder's own time is still to come when the mark goes,
	// since that changes it.
	root := u.top()
	final := root.item.Mode
	if !u.owner {
		root.item.Mode |= 0o300 // else it may forbid even us to delete the mark
	}
	if err := u.dress(root); err != nil {
		return err
	}
	failpoint.At("archive.extract.written")
	if err := d.sync(); err != nil {
		return err
	}
	failpoint.At("archive.extract.synced")
	if err := os.Remove(filepath.Join(d.to, unfinished)); err != nil {
		return err
	}
	failpoint.At("archive.extract.unmarked")
	root.item.Mode = final
	if err := u.leave(""); err != nil {
		return err
	}
	failpoint.At("archive.extract.dressed")
	if err := d.self.Sync(); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(d.to))
}

// sync makes durable all that was written, in one call for the whole file system. It
// also waits for what others have written to it; an fsync of each file does not, and is
// about as fast for the 2 MiB tables of a node (400 of them: 3.5 to 5.9 s, and 1.2 to
// 4.5 s eight at a time). But of 20,000 files of 4 KiB it takes 7 to 15 s eight at a
// time and 33 s one by one, this 0.7 to 7 s. What the disk could not take since the
// folder was opened, before the first byte, is an error (since Linux 5.8).
func (d *destination) sync() error {
	if err := unix.Syncfs(int(d.self.Fd())); err != nil {
		return &os.PathError{Op: "sync", Path: d.work, Err: err}
	}
	return nil
}

// clear undoes an extraction. The mark goes last.
func (d *destination) clear() error {
	if d.made {
		return os.RemoveAll(d.work)
	}
	entries, err := os.ReadDir(d.work)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "lost+found" || e.Name() == unfinished {
			continue
		}
		if err := os.RemoveAll(filepath.Join(d.work, e.Name())); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(d.work, unfinished)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
