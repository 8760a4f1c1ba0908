package upgrade

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Writable says why we can't make files in dir: the user we run as may not, or
// the mount is read-only. A directory that is not there yet is judged by where
// it would be made.
func Writable(dir string) error {
	dir = filepath.Clean(dir)
	info, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		info, err = os.Stat(dir)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	switch err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); {
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%s is on a read-only mount", dir)
	case err != nil:
		who := "somebody else"
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			who = fmt.Sprintf("%d:%d", st.Uid, st.Gid)
		}
		return fmt.Errorf("%s (%s, %s) is not writable for %d:%d", dir, info.Mode(), who, os.Geteuid(), os.Getegid())
	}
	return nil
}

// remotes are file systems that other machines write too, by the numbers of
// statfs(2).
var remotes = map[int64]string{
	unix.NFS_SUPER_MAGIC: "NFS", unix.SMB_SUPER_MAGIC: "SMB", 0xff534d42: "CIFS", 0xfe534d42: "SMB2",
	unix.CEPH_SUPER_MAGIC: "Ceph", unix.V9FS_MAGIC: "9p", unix.AFS_SUPER_MAGIC: "AFS",
	unix.CODA_SUPER_MAGIC: "Coda", 0x0bd00bd0: "Lustre", 0x01161970: "GFS2", unix.OCFS2_SUPER_MAGIC: "OCFS2",
	unix.FUSE_SUPER_MAGIC: "FUSE", 0x19830326: "BeeGFS", 0x47504653: "GPFS",
}

// Remote names the network file system that dir is on, or would be on; empty
// for a local one. There flock(2) may not hold between machines, and two nodes
// could run on one volume. What is behind FUSE nobody can tell, so it counts.
func Remote(dir string) string {
	var st unix.Statfs_t
	dir = filepath.Clean(dir)
	err := unix.Statfs(dir, &st)
	for errors.Is(err, unix.ENOENT) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		err = unix.Statfs(dir, &st)
	}
	if err != nil {
		return ""
	}
	return remotes[int64(st.Type)&0xffffffff]
}

// Held reports whether a supervisor has the volume now. It looks for a moment
// and takes nothing.
func (h Home) Held() bool {
	f, err := os.Open(h.lockFile())
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}
