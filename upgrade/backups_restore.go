package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/backup"
	"github.com/wemix/wemixvisor/backup/failpoint"
	supervisor "github.com/wemix/wemixvisor/init"
)

// ErrOtherBinary says that an archive was made by another node binary than the
// current one, which may not understand its data.
var ErrOtherBinary = errors.New("another node binary made it")

// Restore makes the data of an archive, an id or a folder, the node's. It is
// unpacked and verified beside the live data while the node runs; then the node
// is stopped, the two change places, and it is started again. What was live is
// kept until the next backup has succeeded. The node's identity stays; that in
// the archive comes in only where the volume is empty.
//
// It returns [ErrOtherBinary] unless force is set, and what
// [backup.Repo.Extract] and [backup.Snapshotter.Replace] return. Of a backup by
// the current binary nothing is asked, nor of any in front of an empty volume.
func (b *Backups) Restore(ctx context.Context, idOrFolder string, force bool) (backup.Info, error) {
	return do(ctx, b, "restore", false, func(ctx context.Context, j *job) (backup.Info, error) {
		info, err := b.restore(ctx, j, idOrFolder, force)
		if err == nil {
			level.Info(b.logger).Log("msg", "backup restored", "id", info.ID, "height", info.Origin.Height)
		}
		return info, err
	})
}

func (b *Backups) restore(ctx context.Context, j *job, idOrFolder string, force bool) (info backup.Info, err error) {
	if b.cfg.Node != nil && b.cfg.Node.Status().Change != nil {
		return info, supervisor.ErrBusy
	}
	if err := b.Holding(); err != nil {
		return info, err
	}
	if info, err = b.cfg.Repo.Info(idOrFolder); err != nil {
		return info, err
	}
	empty, err := vacant(b.cfg.Data)
	if err != nil {
		return info, err
	}
	if !empty && !force {
		current, err := b.current256(ctx)
		if err != nil {
			return info, err
		}
		if current != "" && info.Origin.Binary != "" && current != info.Origin.Binary {
			return info, fmt.Errorf("restore %s: %w: %s %s (sha256 %.12s), and the current one is %s (sha256 %.12s); to restore it all the same: --force",
				info.ID, ErrOtherBinary, info.Origin.Upgrade, info.Origin.Version, info.Origin.Binary, b.cfg.Home.Current(), current)
		}
	}
	if !empty && b.cfg.Node != nil && b.cfg.Node.Status().Pid != 0 {
		if err := b.custody(); err != nil {
			return info, err
		}
	}
	if err := os.MkdirAll(b.cfg.Data, 0o755); err != nil {
		return info, fmt.Errorf("restore %s: %w", info.ID, err)
	}
	incoming, err := b.cfg.Snapshots.Incoming()
	if err != nil {
		return info, err
	}
	to := filepath.Join(incoming, info.ID)
	if err := os.RemoveAll(to); err != nil { // a try that failed, and could not clean up
		return info, fmt.Errorf("restore %s: %w", info.ID, err)
	}
	j.mu.Lock()
	j.id = info.ID
	j.mu.Unlock()
	j.stage(stageDecode)
	options := backup.ExtractOptions{Secrets: empty, Workers: b.cfg.Policy().Workers, OnProgress: j.progress}
	if info, err = b.cfg.Repo.Extract(ctx, idOrFolder, to, options); err != nil {
		return info, err
	}
	failpoint.At("backups.extracted")
	err = b.whileDown(ctx, j, KindRestore, info.ID, func(ctx context.Context) error {
		j.stage(stageSwap)
		return b.cfg.Snapshots.Replace(ctx, to, info.ID)
	}, func(_ context.Context, why error) error {
		if !forbids(why) {
			return nil
		}
		b.hold(why)
		return fmt.Errorf("%w: %w", supervisor.ErrHold, why)
	})
	failpoint.At("backups.swapped")
	if err != nil && !forbids(err) && ctx.Err() == nil {
		_ = os.RemoveAll(to) // else swept at the next start
	}
	return info, err
}

// vacant reports whether a data directory holds nothing that is a node's.
func vacant(data string) (bool, error) {
	entries, err := os.ReadDir(data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look into %s: %w", data, err)
	}
	for _, e := range entries {
		switch e.Name() {
		case ".wemixvisor", "lost+found", "wemixvisor", "backups":
		default:
			return false, nil
		}
	}
	return true, nil
}
