package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wemix/wemixvisor/backup/failpoint"
)

// Recovered is what [Snapshotter.Recover] found to do.
type Recovered struct {
	Finished *RolledBack // a half swap that it brought to its end
	Undone   string      // the id of a half swap that it took back
	Swept    []string    // what was left of work that a crash broke off, relative to the data directory
}

// Recover is called before the first start. It finishes a swap that was broken
// off, or undoes it where that had begun, and sweeps what was never committed. If
// it returns [ErrUnfinished] or [ErrIdentity] the node must not start.
func (s *Snapshotter) Recover(ctx context.Context) (Recovered, error) {
	var r Recovered
	look, err := s.look()
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("recover snapshots: %w", err)
	}
	if !exists(look.ours) { // a read-only volume without anything of ours is fine
		return r, nil
	}
	at, end, err := s.begin(ctx)
	if err != nil {
		if errors.Is(err, ErrBusy) || !exists(look.journal()) {
			return r, fmt.Errorf("recover snapshots: %w", err)
		}
		return r, fmt.Errorf("recover snapshots: %w: %w", ErrUnfinished, err)
	}
	defer end()
	s.next = nil
	if err := at.resume(ctx, &r); err != nil && !errors.Is(err, ErrIdentity) {
		return r, fmt.Errorf("recover snapshots: %w", err)
	}
	failpoint.At("backup.recover-resumed")
	if err := at.identity(); err != nil {
		return r, err
	}
	return r, at.sweep(ctx, &r)
}

// resume goes through the journalled swap again, if there is one.
func (s *site) resume(ctx context.Context, r *Recovered) error {
	j, err := readSwap(s.journal())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnfinished, err)
	}
	var held locks
	defer held.free()
	if _, err := s.survey(ctx, &held); err != nil {
		return fmt.Errorf("%w: %w", ErrUnfinished, err)
	}
	begun := time.Now()
	x := s.exchange(j)
	err = x.run()
	if errors.Is(err, ErrUnfinished) {
		return err
	}
	if j.Back { // the data is as it was; what the swap stumbled over has no effect any more
		r.Undone = j.ID
		return nil
	}
	done, err := x.finish(begun)
	r.Finished = &done
	return err
}

// sweep deletes what has no name that lists: drafts, what was being deleted, what
// was being restored, temporary files.
func (s *site) sweep(ctx context.Context, r *Recovered) error {
	for _, dir := range []string{s.ours, s.snapshots(), s.failed(), s.incoming()} {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("sweep %s: %w", dir, err)
		}
		for _, e := range entries {
			file := filepath.Join(dir, e.Name())
			_, _, _, isID := ParseID(e.Name())
			garbage := strings.HasPrefix(e.Name(), ".") || dir == s.incoming() ||
				dir == s.snapshots() && (!isID || !exists(filepath.Join(file, snapshotFile)))
			if !garbage {
				continue
			}
			failpoint.At("backup.sweep")
			if err := removeTree(ctx, file, s.mounts); err != nil {
				return fmt.Errorf("sweep: %w", err)
			}
			rel, _ := filepath.Rel(s.tree.Root, file)
			r.Swept = append(r.Swept, escapeName(rel))
		}
	}
	return nil
}
