package backup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

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
