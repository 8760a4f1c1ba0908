package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Verify checks that a snapshot still is what was committed: every file that it
// shares with the node by inode, size and time, so that a hook or a repair that
// edited one in place is noticed ([ErrChanged]), and its own copies by size and
// time ([ErrCorrupt]).
func (s *Snapshotter) Verify(ctx context.Context, id string) error {
	at, err := s.look()
	if err != nil {
		return fmt.Errorf("verify snapshot %s: %w", id, err)
	}
	snap, err := at.find(id)
	if err != nil {
		return err
	}
	if err := snap.verify(ctx); err != nil {
		return fmt.Errorf("verify snapshot %s: %w", id, err)
	}
	return nil
}

func (s Snapshot) verify(ctx context.Context) error {
	folder := filepath.Dir(s.Root)
	second := map[string]ledgerLine{}
	err := readLedger(filepath.Join(folder, ledgerSecond), func(l ledgerLine) error {
		second[l.path] = l
		return nil
	})
	if err != nil {
		return err
	}
	files, n := 0, 0
	check := func(l ledgerLine) error {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if l.kind == lineGone {
			return nil
		}
		files++
		return l.check(s.Root)
	}
	err = readLedger(filepath.Join(folder, ledgerFirst), func(l ledgerLine) error {
		if _, replaced := second[l.path]; replaced {
			return nil
		}
		return check(l)
	})
	if err != nil {
		return err
	}
	for _, l := range second {
		if err := check(l); err != nil {
			return err
		}
	}
	if files != s.Files {
		return fmt.Errorf("%w: %d files are listed, and %d were committed", ErrCorrupt, files, s.Files)
	}
	return nil
}

func (l ledgerLine) check(root string) error {
	var st unix.Stat_t
	err := unix.Lstat(filepath.Join(root, l.path), &st)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %q is missing", ErrCorrupt, l.path)
	}
	if err != nil {
		return fmt.Errorf("look at %q: %w", l.path, err)
	}
	if st.Size == l.size && st.Mtim.Nano() == l.mtime && (l.kind != lineLink || st.Ino == l.ino) {
		return nil
	}
	if l.kind == lineLink {
		return fmt.Errorf("%w: %q was edited in place (%d bytes then, %d now); the node's data cannot go back to it", ErrChanged, l.path, l.size, st.Size)
	}
	return fmt.Errorf("%w: %q is not what was copied", ErrCorrupt, l.path)
}
