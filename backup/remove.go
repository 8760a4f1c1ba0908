package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// aside is where a folder goes that is being deleted.
func aside(folder string) string {
	return filepath.Join(filepath.Dir(folder), ".deleting-"+filepath.Base(folder))
}

// setAside takes a folder out of sight, by one rename.
func setAside(folder string, m mounts) error {
	if at := m.below(folder); at != "" {
		return fmt.Errorf("delete %s: %s is mounted in it; unmount that first", folder, at)
	}
	if exists(folder) && exists(aside(folder)) { // an earlier one that could not be deleted whole
		if err := removeTree(context.Background(), aside(folder), m); err != nil {
			return err
		}
	}
	if err := os.Rename(folder, aside(folder)); err != nil {
		return fmt.Errorf("delete %s: %w", folder, err)
	}
	return nil
}

// removeTree deletes a folder with all in it, but nothing behind a mount: what is
// mounted there is somebody's only copy.
func removeTree(ctx context.Context, dir string, m mounts) error {
	if at := m.below(dir); at != "" || m[dir] {
		return fmt.Errorf("delete %s: %s is mounted there; unmount that first", dir, at)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		if err == unix.ENOENT {
			return nil
		}
		return fmt.Errorf("delete %s: %w", dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return os.Remove(dir)
	}
	if err := removeBelow(ctx, dir, st.Dev); err != nil {
		return fmt.Errorf("delete %s: %w", dir, err)
	}
	return nil
}

func removeBelow(ctx context.Context, dir string, dev uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: dir, Err: err}
	}
	if st.Dev != dev { // mounted since mountinfo was read
		return fmt.Errorf("%s is another file system", dir)
	}
	entries, err := readDirents(dir)
	if errors.Is(err, fs.ErrPermission) { // a folder that was without its w or x bit
		_ = os.Chmod(dir, 0o700)
		entries, err = readDirents(dir)
	}
	if err != nil {
		return err
	}
	chmodded := st.Mode&0o300 == 0o300
	for i, e := range entries {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		at := filepath.Join(dir, e.name)
		if e.kind == fs.ModeDir {
			if err := removeBelow(ctx, at, dev); err != nil {
				return err
			}
			continue
		}
		err := unix.Unlink(at)
		if err == unix.EACCES && !chmodded {
			chmodded = os.Chmod(dir, 0o700) == nil
			err = unix.Unlink(at)
		}
		if err != nil && err != unix.ENOENT {
			return &fs.PathError{Op: "unlink", Path: at, Err: err}
		}
	}
	if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
		return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}
