package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const chunk = 8 << 20 // between two looks at the context

// errShrunk says that a file ended before the size it had when it was opened.
var errShrunk = errors.New("it shrank while it was read")

// copier copies files within the data directory.
type copier struct {
	pace    func(ctx context.Context, n int) error // before each chunk; nil: as fast as it goes
	noClone atomic.Bool                            // this file system has no reflinks, as the first try told
	cloned  atomic.Int64                           // files that share their blocks with the source
}

// file copies one regular file, exactly the bytes it has at this moment, with
// its holes, mode, owner and time, and returns what it was. The copy is on its
// way to the disk, not yet durable. Another file called to is never overwritten.
func (c *copier) file(ctx context.Context, from, to string) (Entry, error) {
	in, e, err := openRegular(from)
	if err != nil {
		return e, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return e, err
	}
	err = c.fill(ctx, out, in, e.Size)
	if err == nil {
		err = dress(out, e)
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(to)
		return e, fmt.Errorf("copy %s: %w", from, spaceError(err))
	}
	return e, nil
}

// fill makes out the first size bytes of in.
func (c *copier) fill(ctx context.Context, out, in *os.File, size int64) error {
	if size > 0 && !c.noClone.Load() {
		err := unix.IoctlFileClone(int(out.Fd()), int(in.Fd()))
		if err == nil {
			c.cloned.Add(1)
			return out.Truncate(size) // the node may have written on
		}
		if spaceError(err) != err {
			return err
		}
		c.noClone.Store(true)
	}
	if err := out.Truncate(size); err != nil {
		return err
	}
	if err := c.data(ctx, out, in, 0, size); err != nil {
		return err
	}
	// Written back while the next file is read, so that the fsync at the end finds
	// little to do.
	_ = unix.SyncFileRange(int(out.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	return nil
}

// data copies what is between two offsets, hole by hole.
func (c *copier) data(ctx context.Context, out, in *os.File, at, end int64) error {
	for at < end {
		start, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		stop := end
		switch err {
		case unix.ENXIO: // nothing but a hole, or the end
			return atLeast(in, end)
		case nil:
			if start >= end {
				return nil
			}
			if s, err := unix.Seek(int(in.Fd()), start, unix.SEEK_HOLE); err == nil {
				stop = min(s, end)
			}
		default: // no such thing here: all is data
			start = at
		}
		if err := c.extent(ctx, out, in, start, stop); err != nil {
			return err
		}
		at = stop
	}
	return nil
}

func atLeast(f *os.File, size int64) error {
	fi, err := f.Stat()
	if err == nil && fi.Size() < size {
		return errShrunk
	}
	return err
}

func (c *copier) extent(ctx context.Context, out, in *os.File, at, end int64) error {
	for at < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := int(min(end-at, chunk))
		if c.pace != nil {
			if err := c.pace(ctx, n); err != nil {
				return err
			}
		}
		read, write := at, at
		done, err := unix.CopyFileRange(int(in.Fd()), &read, int(out.Fd()), &write, n, 0)
		switch err {
		case nil:
			if done == 0 {
				return errShrunk
			}
			at += int64(done)
		case unix.EINTR:
		case unix.EXDEV, unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.EPERM, unix.EBADF:
			copied, err := io.Copy(io.NewOffsetWriter(out, at), io.NewSectionReader(in, at, int64(n)))
			if err != nil {
				return err
			}
			if copied < int64(n) {
				return errShrunk
			}
			at += copied
		default:
			return err
		}
	}
	return nil
}

// openRegular opens a file to be read, and says what it is; never through a
// symlink, and never one that could block.
func openRegular(name string) (*os.File, Entry, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, Entry{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, Entry{}, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	e := entryOf(&st)
	if !e.Mode.IsRegular() {
		f.Close()
		return nil, e, &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	return f, e, nil
}

// dress gives a file the owner, mode and time of e. Who is not root keeps what it
// makes: the node, of the same user, reads it as before.
func dress(f *os.File, e Entry) error {
	if err := unix.Fchown(int(f.Fd()), e.UID, e.GID); err != nil && err != unix.EPERM {
		return &fs.PathError{Op: "chown", Path: f.Name(), Err: err}
	}
	if err := f.Chmod(e.Mode); err != nil { // after chown, which clears setuid
		return err
	}
	return setTime(f.Name(), e)
}

func setTime(name string, e Entry) error {
	at := unix.NsecToTimespec(e.ModTime.UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "set time", Path: name, Err: err}
	}
	return nil
}

// dressFolder is dress for a folder, once nothing more is put into it.
func dressFolder(name string, e Entry) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return dress(d, e)
}

// spaceError makes a full disk, or a full quota, known as such.
func spaceError(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
