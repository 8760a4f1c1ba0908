package backup

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Unlinkable is which files of a tree the kernel will not hard-link for us, so
// that a snapshot has to copy them.
type Unlinkable struct {
	Files   int    // how many
	Bytes   int64  //
	Example string // the path of one
	Looked  int    // at how many files; fewer than there are when the time was over
}

// FindUnlinkable looks through dir until ctx is done. Where
// fs.protected_hardlinks is set (proc(5)), a file of another owner can be
// linked only by who may read and write it, or has CAP_FOWNER.
func FindUnlinkable(ctx context.Context, dir string) (Unlinkable, error) {
	var u Unlinkable
	set, err := os.ReadFile("/proc/sys/fs/protected_hardlinks")
	if err == nil && strings.TrimSpace(string(set)) == "0" {
		return u, nil
	}
	var header unix.CapUserHeader
	var caps [2]unix.CapUserData
	header.Version = unix.LINUX_CAPABILITY_VERSION_3
	if err := unix.Capget(&header, &caps[0]); err == nil && caps[0].Effective&(1<<unix.CAP_FOWNER) != 0 {
		return u, nil
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real // a walk does not follow where it begins
	}
	me := uint32(os.Geteuid())
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return filepath.SkipAll
		case err != nil:
			if d != nil && d.IsDir() && path != dir {
				return filepath.SkipDir // what we may not look into we can't link either; Writable says so
			}
			return err
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil // gone meanwhile: the node works here
		}
		u.Looked++
		st, ok := info.Sys().(*syscall.Stat_t)
		if ok && st.Uid != me && unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK|unix.W_OK, unix.AT_EACCESS) != nil {
			u.Files++
			u.Bytes += info.Size()
			u.Example = path
		}
		return nil
	})
	return u, err
}
