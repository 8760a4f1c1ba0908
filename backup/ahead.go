package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/wemix/wemixvisor/backup/failpoint"
)

// ahead is a whole pass while the node runs, durable when it returns.
func (d *draft) ahead(ctx context.Context, cfg SnapshotterConfig) (*pass, error) {
	clear(d.refused)
	clear(d.youngIn)
	d.shared = 0
	ledger, err := newLedger(path.Join(d.dir(), ledgerFirst))
	if err != nil {
		return nil, spaceError(err)
	}
	w := &pass{draft: d, ledger: ledger, begun: time.Now(), inodes: map[uint64]string{}}
	err = w.folder(ctx, ".")
	failpoint.At("backup.prepare-linked")
	if err == nil {
		w.excluded = append(w.excluded, d.outside()...)
		need := w.toCopy
		if d.copier.noClone.Load() {
			for _, j := range w.jobs {
				need += j.e.allocated()
			}
		}
		err = cfg.Floor.Check(d.ours, need)
	}
	if err == nil {
		err = w.copyAhead(ctx, cfg)
	}
	failpoint.At("backup.prepare-copied")
	if cerr := ledger.close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, spaceError(err)
	}
	failpoint.At("backup.prepare-ledger")
	return w, w.sync(path.Join(d.dir(), ledgerFirst))
}

// copyAhead does the jobs of a pass made while the node runs.
func (p *pass) copyAhead(ctx context.Context, cfg SnapshotterConfig) error {
	var total, done int64
	for _, j := range p.jobs {
		total += j.e.allocated()
	}
	p.copier.pace = func(ctx context.Context, n int) error {
		if cfg.Pace != nil {
			if err := cfg.Pace(ctx, n); err != nil {
				return err
			}
		}
		done += int64(n)
		if cfg.OnProgress != nil {
			cfg.OnProgress(Progress{Done: min(done, total), Total: total})
		}
		return nil
	}
	for _, j := range p.jobs {
		if err := cfg.Floor.Check(p.ours, j.e.allocated()); err != nil {
			return err
		}
		at := j.e.Path
		var err error
		if j.stage {
			err = p.stage(ctx, j.e)
		} else {
			err = p.copyNew(ctx, at)
			if err == nil {
				p.ledger.add(lineOf(lineCopy, withPath(j.e, at)))
			}
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errShrunk) { // left to the next pass
			delete(p.sources, at)
			continue
		}
		if err != nil {
			return err
		}
		p.staged += j.e.allocated()
	}
	return nil
}

func withPath(e Entry, at string) Entry {
	e.Path = at
	return e
}

// copyNew copies one file afresh and remembers of what.
func (p *pass) copyNew(ctx context.Context, at string) error {
	if err := os.Remove(p.mirror(at)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	before, ctime, err := lookWithChange(p.tree.Root, at, Immutable)
	if err != nil {
		return err
	}
	e, err := p.copier.file(ctx, p.tree.at(at), p.mirror(at))
	if err != nil {
		return err
	}
	if e.Ino != before.Ino || e.Size != before.Size || !e.ModTime.Equal(before.ModTime) {
		return nil // being written: not remembered, so copied again in the window
	}
	p.sources[at] = sourceOf(before, ctime)
	return nil
}
