package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync"

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
	c := newChecker(ctx, s.Root)
	err = readLedger(filepath.Join(folder, ledgerFirst), func(l ledgerLine) error {
		if _, replaced := second[l.path]; replaced {
			return nil
		}
		return c.add(l)
	})
	for _, l := range second {
		if err == nil && l.kind != lineGone {
			err = c.add(l)
		}
	}
	files, cerr := c.wait()
	if err = cmp.Or(cerr, err); err != nil {
		return err
	}
	if files != s.Files {
		return fmt.Errorf("%w: %d files are listed, and %d were committed", ErrCorrupt, files, s.Files)
	}
	return nil
}

// checker looks at the files of a snapshot, several at once: the node is down while
// half a million are looked at before a rollback.
type checker struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	root   string
	batch  []ledgerLine
	queue  chan []ledgerLine
	all    sync.WaitGroup
	files  int
}

func newChecker(ctx context.Context, root string) *checker {
	c := &checker{root: root, queue: make(chan []ledgerLine, 8)}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	for range max(2, runtime.GOMAXPROCS(0)) {
		c.all.Go(func() {
			for batch := range c.queue {
				if err := checkLines(root, batch); err != nil {
					c.cancel(err)
				}
			}
		})
	}
	return c
}

func (c *checker) add(l ledgerLine) error {
	c.files++
	if c.batch = append(c.batch, l); len(c.batch) < 1024 {
		return nil
	}
	c.queue <- c.batch
	c.batch = make([]ledgerLine, 0, 1024)
	return context.Cause(c.ctx)
}

// wait returns how many files were looked at, and the first that is not what it was.
func (c *checker) wait() (files int, err error) {
	c.queue <- c.batch
	close(c.queue)
	c.all.Wait()
	err = context.Cause(c.ctx)
	c.cancel(nil)
	return c.files, err
}

// checkLines looks at files relative to their folder, which most have in common:
// the way to it is not gone again for each.
func checkLines(root string, lines []ledgerLine) error {
	var dir *os.File
	var last string
	defer func() { dir.Close() }() // a nil one is fine
	for _, l := range lines {
		folder, name := path.Split(l.path)
		if dir == nil || folder != last {
			dir.Close()
			var err error
			dir, err = os.OpenFile(filepath.Join(root, folder), unix.O_PATH|unix.O_DIRECTORY, 0)
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w: %q is missing", ErrCorrupt, folder)
			}
			if err != nil {
				return err
			}
			last = folder
		}
		if err := l.check(int(dir.Fd()), name); err != nil {
			return err
		}
	}
	return nil
}

func (l ledgerLine) check(dir int, name string) error {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
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
