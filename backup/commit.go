package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/wemix/wemixvisor/backup/durable"
	"github.com/wemix/wemixvisor/backup/failpoint"
)

// copiers is how many files are copied at once in the window: enough for the disk
// to have something to do while one waits.
const copiers = 4

// Commit makes the rollback point. The node must be down: if a lock of it is held
// the answer is [ErrInUse], and what was prepared stays for the next try. When it
// returns without an error the snapshot is durable. What was not prepared is done
// now; then the time that takes follows the number of files, and where links cannot
// be made, the data.
func (s *Snapshotter) Commit(ctx context.Context, reason string, o Origin) (Snapshot, error) {
	return s.commit(ctx, reason, o, new(locks))
}

// commit makes the rollback point, with the node's locks in held. Nil says that
// the node stands still and keeps them.
func (s *Snapshotter) commit(ctx context.Context, reason string, o Origin, held *locks) (Snapshot, error) {
	begun := time.Now()
	at, end, err := s.begin(ctx)
	if err != nil {
		return Snapshot{}, fmt.Errorf("commit snapshot: %w", err)
	}
	defer end()
	if s.next == nil || !s.next.ready || !exists(s.next.mirror(".")) {
		if held != nil {
			_, err := at.survey(ctx, held)
			held.free()
			if err != nil {
				return Snapshot{}, fmt.Errorf("commit snapshot: %w", err)
			}
		}
		if _, err := s.prepare(ctx, at); err != nil {
			return Snapshot{}, err
		}
	}
	d := s.next
	d.site = at
	if held != nil {
		defer held.free()
	}
	w, err := d.window(ctx, s.cfg, held)
	if errors.Is(err, ErrInUse) {
		d.ready = false // its ledgers say less than is in it by now
		return Snapshot{}, fmt.Errorf("commit snapshot: %w", err)
	}
	var snap Snapshot
	if err == nil {
		snap, err = s.publish(d, w, Snapshot{Reason: reason, Origin: o}, begun)
	}
	if err != nil {
		if s.next = nil; ctx.Err() == nil { // who is told to end has no time for it: it is swept then
			s.abandon(ctx, d)
		}
		return Snapshot{}, fmt.Errorf("commit snapshot: %w", spaceError(err))
	}
	s.next = nil
	return snap, nil
}

// window makes the mirror equal to the tree.
func (d *draft) window(ctx context.Context, cfg SnapshotterConfig, held *locks) (*pass, error) {
	ledger, err := newLedger(path.Join(d.dir(), ledgerSecond))
	if err != nil {
		return nil, err
	}
	w := &pass{draft: d, window: true, ledger: ledger, locks: held, begun: time.Now(), inodes: map[uint64]string{}}
	if err = w.folder(ctx, "."); err == nil {
		w.excluded = append(w.excluded, d.outside()...)
		err = w.copyNow(ctx, cfg)
	}
	failpoint.At("backup.commit-copied")
	if cerr := ledger.close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	failpoint.At("backup.commit-ledger")
	return w, w.settle()
}

// copyNow does the jobs of the window: a few files at once, and beside them the
// tails of those that were staged.
func (p *pass) copyNow(ctx context.Context, cfg SnapshotterConfig) error {
	for _, j := range p.jobs {
		switch known, staged := p.sources[j.e.Path]; {
		case j.same != "":
		case j.stage && staged && known.ino == j.e.Ino && known.size <= j.e.Size:
			p.toCopy += j.e.Size - known.size
		default:
			p.toCopy += j.e.allocated()
		}
	}
	if err := cfg.Floor.Check(p.ours, p.toCopy); err != nil {
		return err
	}
	p.copier.pace = nil
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan Entry)
	var all sync.WaitGroup
	for range copiers {
		all.Go(func() {
			for e := range queue {
				if err := p.copyOne(ctx, e); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, j := range p.jobs {
		if ctx.Err() == nil && !j.stage && j.same == "" {
			queue <- j.e
		}
	}
	close(queue)
	for _, j := range p.jobs {
		if ctx.Err() == nil && j.stage {
			if err := p.stage(ctx, j.e); err != nil {
				cancel(err)
			}
		}
	}
	all.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, j := range p.jobs {
		if j.same != "" {
			if err := p.copyName(j); err != nil {
				return err
			}
		}
		p.ledger.add(lineOf(lineCopy, j.e))
	}
	return nil
}

// copyOne copies a file, which must be what the pass saw: with the node down
// nobody writes.
func (p *pass) copyOne(ctx context.Context, e Entry) error {
	to := p.mirror(e.Path)
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) { // never written through: it may be a link
		return err
	}
	have, err := p.copier.file(ctx, p.tree.at(e.Path), to)
	if err != nil {
		return err
	}
	if have.Ino != e.Ino || have.Size != e.Size || !have.ModTime.Equal(e.ModTime) {
		return fmt.Errorf("%w: somebody writes %s", ErrInUse, p.tree.at(e.Path))
	}
	return nil
}

// copyName gives a copy its further name, as its file has in the tree.
func (p *pass) copyName(j job) error {
	to := p.mirror(j.e.Path)
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Link(p.mirror(j.same), to)
}

// settle gives the folders their modes and times.
func (p *pass) settle() error {
	for _, rel := range slices.Backward(p.folders) { // what is in a folder first: its own time is last
		e, err := lookAt(p.tree.Root, rel, Mutable)
		if err != nil {
			return err
		}
		if err := dressFolder(p.mirror(rel), e); err != nil {
			return err
		}
	}
	return nil
}

// publish describes the snapshot, makes all of it durable in one go, and names it.
// From the rename on it is one: what is in the folder before that is nobody's, so
// its parts need no order among themselves, and the node waits for one commit of the
// file system instead of one each.
func (s *Snapshotter) publish(d *draft, w *pass, snap Snapshot, begun time.Time) (Snapshot, error) {
	var names []string
	for _, dir := range []string{d.snapshots(), d.failed(), d.incoming()} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return snap, err
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	now := s.cfg.Now().UTC()
	snap.Version, snap.Created = snapshotVersion, now
	snap.ID = NewID(now, NextSequence(names), KindSnapshot)
	snap.Method, snap.Warnings = d.method(), d.warnings()
	snap.Files, snap.Linked = w.files, w.linked
	snap.Bytes, snap.Copied = d.shared+w.bytes, w.toCopy
	snap.Excluded, snap.Partial = w.leftOut(), partial(w.excluded)
	slices.Sort(w.kept)
	snap.Kept = []string{}
	for _, k := range w.kept {
		snap.Kept = append(snap.Kept, escapeName(k))
	}
	snap.Window = time.Since(begun)
	text, err := json.MarshalIndent(snap, "", "  ")
	if err != nil {
		return snap, err
	}
	description := filepath.Join(d.dir(), snapshotFile)
	if err := os.WriteFile(description, append(text, '\n'), 0o600); err != nil {
		return snap, err
	}
	reserve(filepath.Join(d.dir(), roomFile))
	failpoint.At("backup.commit-described")
	if err := w.sync(description, filepath.Join(d.dir(), ledgerSecond), d.dir()); err != nil {
		return snap, err
	}
	failpoint.At("backup.commit-durable")
	folder := filepath.Join(d.snapshots(), snap.ID)
	if err := os.Rename(d.dir(), folder); err != nil {
		return snap, err
	}
	failpoint.At("backup.commit-named")
	if err := durable.SyncDir(d.snapshots()); err != nil { // then it is not said to be one, and must not list
		return snap, errors.Join(err, os.Rename(folder, d.dir()))
	}
	snap.Root, snap.Window = filepath.Join(folder, mirrorFolder), time.Since(begun)
	return snap, nil
}
