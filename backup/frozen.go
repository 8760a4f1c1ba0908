package backup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// CommitFrozen is Commit for a node that stands still (SIGSTOP) and keeps its
// locks: what comes of it is what a power cut would leave, without the power cut.
// A node that starts on it repairs its databases, and may have lost its newest
// blocks. o.Consistency becomes [Frozen].
func (s *Snapshotter) CommitFrozen(ctx context.Context, reason string, o Origin) (Snapshot, error) {
	o.Consistency, o.CleanShutdown = Frozen, false
	return s.commit(ctx, reason, o, nil)
}

// Discard deletes what Prepare made, if nobody committed it: it holds on to files
// that the node has deleted meanwhile.
func (s *Snapshotter) Discard(ctx context.Context) error {
	at, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	d := s.next
	if s.next = nil; d == nil {
		return nil
	}
	d.site = at
	return d.erase(ctx)
}

// Info returns what is known of an archive without reading it: an id of this
// repository, or any folder that holds one.
func (r *Repo) Info(idOrFolder string) (Info, error) {
	folder, err := r.find(idOrFolder)
	if err != nil {
		return Info{}, err
	}
	info, err := readInfo(folder)
	if err != nil {
		return Info{}, err
	}
	info.glance(folder)
	return info, nil
}

// Room tells before anything is made whether Create could begin: it returns
// [ErrNoSpace], [ErrPartial] or [ErrBusy] as Create would, and what forbids to write
// there. The node may run.
func (r *Repo) Room(ctx context.Context, src Source, o CreateOptions) error {
	if err := r.room(ctx, src, o); err != nil {
		return fmt.Errorf("create archive: %w", spaceError(err))
	}
	return nil
}

func (r *Repo) room(ctx context.Context, src Source, o CreateOptions) error {
	l, err := r.begin("look for room")
	if err != nil {
		return err
	}
	defer l.Close()
	old, err := r.List()
	if err != nil {
		return err
	}
	src.Online = true
	x, err := r.measure(ctx, src, o)
	if err != nil {
		return err
	}
	probe := filepath.Join(r.cfg.Dir, makingPrefix+"probe") // one that stays is swept
	if err := os.Mkdir(probe, 0o700); err != nil {
		return err
	}
	if err := os.Remove(probe); err != nil {
		return err
	}
	return r.cfg.Floor.Check(r.cfg.Dir, expect(x, old))
}
