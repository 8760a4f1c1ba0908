package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wemix/wemixvisor/backup/failpoint"
)

// RolledBack is what a swap did.
type RolledBack struct {
	ID       string        `json:"id"`     // of the snapshot or archive that is live now
	Origin   Origin        `json:"origin"` // the node as it was then; empty after a Replace
	Failed   string        `json:"failed"` // id of the data that went, see [Snapshotter.Failed]
	Kept     []string      `json:"kept"`   // the identity that stayed
	Duration time.Duration `json:"duration"`
}

// Rollback makes a snapshot's data the node's again, by renames alone. The node
// must be down ([ErrInUse]); a snapshot that was edited in place ([ErrChanged]), or
// that is without part of the data ([ErrPartial]), is refused, and then the binary
// alone can go back. The snapshot is used up by it. What was live goes to failed/,
// until [Snapshotter.DropFailed]; the identity stays, to the byte.
//
// The error is [ErrIdentity] if part of the identity was lost before: then the
// data is back, but the node must not start, now and later: see
// [Snapshotter.Identity]. With [ErrUnfinished] it must not
// either, until [Snapshotter.Recover] has succeeded. With any other, the data is as
// it was.
func (s *Snapshotter) Rollback(ctx context.Context, id string) (RolledBack, error) {
	at, end, err := s.begin(ctx)
	if err != nil {
		return RolledBack{}, fmt.Errorf("roll back to %s: %w", id, err)
	}
	defer end()
	snap, err := at.find(id)
	if err != nil {
		return RolledBack{}, err
	}
	if snap.Partial != "" {
		return RolledBack{}, fmt.Errorf("roll back to %s: %w: %s", id, ErrPartial, snap.Partial)
	}
	if err := snap.verify(ctx); err != nil {
		return RolledBack{}, fmt.Errorf("roll back to %s: %w", id, err)
	}
	from := path.Join("snapshots", id, mirrorFolder)
	j := &swap{Kind: swapRollback, ID: id, From: fileName(from), Origin: snap.Origin}
	for _, k := range snap.Kept { // there at that stop, so to be there now
		if p, err := unescapeName(k); err == nil && !isTrigger(p) {
			j.Kept = append(j.Kept, fileName(p))
		}
	}
	_ = os.Remove(filepath.Join(at.snapshots(), id, roomFile)) // for what is written from here on
	back, err := s.swap(ctx, at, j)
	if err != nil {
		return back, fmt.Errorf("roll back to %s: %w", id, err)
	}
	return back, nil
}

// Replace makes the node's data that which lies in incoming, a folder below
// .wemixvisor/incoming, whole and durable; id says what it is. It is Rollback in
// all else. Of the identity in incoming only that comes in of which the volume has
// none.
func (s *Snapshotter) Replace(ctx context.Context, incoming, id string) error {
	at, end, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf("put %s in place: %w", id, err)
	}
	defer end()
	if _, _, _, ok := ParseID(id); !ok {
		return fmt.Errorf("put %q in place: %w", id, ErrNotFound)
	}
	real, err := filepath.EvalSymlinks(incoming)
	if err != nil {
		return fmt.Errorf("put %s in place: %w", id, err)
	}
	from, err := filepath.Rel(at.ours, real)
	if err != nil || !strings.HasPrefix(from, "incoming/") {
		return fmt.Errorf("put %s in place: %s is not below %s", id, incoming, at.incoming())
	}
	if _, err := s.swap(ctx, at, &swap{Kind: swapReplace, ID: id, From: fileName(from)}); err != nil {
		return fmt.Errorf("put %s in place: %w", id, err)
	}
	return nil
}

// Incoming returns the folder below which a tree must lie that [Snapshotter.Replace]
// is to put in place. What is in it is swept by Recover.
func (s *Snapshotter) Incoming() (string, error) {
	at, end, err := s.begin(context.Background())
	if err != nil {
		return "", err
	}
	defer end()
	return at.incoming(), spaceError(makeFolders(at.incoming()))
}

func (s *Snapshotter) swap(ctx context.Context, at *site, j *swap) (RolledBack, error) {
	begun := time.Now()
	if exists(at.journal()) {
		return RolledBack{}, ErrUnfinished
	}
	var held locks
	defer held.free()
	seen, err := at.survey(ctx, &held)
	if err != nil {
		return RolledBack{}, err
	}
	j.Version, j.Begun, j.Failed = swapVersion, s.cfg.Now().UTC(), at.nameFailed(j.ID)
	x := at.exchange(j)
	p := &plan{exchange: x, ctx: ctx, survey: seen}
	if err := p.folder("."); err != nil {
		return RolledBack{}, err
	}
	slices.Sort(j.Kept)
	j.Kept = slices.Compact(j.Kept)
	if err := x.makeAway(); err != nil {
		_ = removeTree(context.WithoutCancel(ctx), x.away, at.mounts)
		return RolledBack{}, spaceError(err)
	}
	failpoint.At("backup.swap-planned")
	if err := writeJSON(at.journal(), j); err != nil {
		if rerr := os.Remove(at.journal()); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			return RolledBack{}, fmt.Errorf("%w: %w", ErrUnfinished, err)
		}
		_ = removeTree(context.WithoutCancel(ctx), x.away, at.mounts)
		return RolledBack{}, spaceError(err)
	}
	failpoint.At("backup.swap-journalled")
	// From here on it is finished or undone, whoever no longer waits for it.
	if err := x.run(); err != nil {
		return RolledBack{}, spaceError(err)
	}
	return x.finish(begun)
}

// finish ends a swap that has come all the way.
func (x *exchange) finish(begun time.Time) (RolledBack, error) {
	back := RolledBack{ID: x.ID, Origin: x.Origin, Failed: x.swap.Failed}
	for _, k := range x.Kept {
		back.Kept = append(back.Kept, escapeName(string(k)))
	}
	if missing := x.missing(); len(missing) > 0 {
		if err := writeJSON(x.site.lostFile(), lost{ID: x.ID, Since: begun.UTC(), Missing: missing}); err != nil {
			return back, fmt.Errorf("%w: %w", ErrUnfinished, err)
		}
		failpoint.At("backup.swap-identity")
	}
	leftover := x.leftover()
	if err := x.close(leftover); err != nil {
		return back, fmt.Errorf("%w: %w", ErrUnfinished, err)
	}
	_ = removeTree(context.Background(), aside(leftover), x.site.mounts) // else swept at the next start
	back.Duration = time.Since(begun)
	return back, x.site.identity()
}

// nameFailed returns an id for the data that goes: that of what comes, and with a
// further number where that one went before.
func (s *site) nameFailed(id string) string {
	name := id
	for exists(filepath.Join(s.failed(), name)) {
		entries, _ := os.ReadDir(s.failed())
		names := []string{id}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		at, _, kind, _ := ParseID(id)
		name = NewID(at, NextSequence(names), kind)
	}
	return name
}

// isTrigger tells the files that ask us to upgrade: people delete those.
func isTrigger(p string) bool { return path.Base(p) == "upgrade-info.json" }
