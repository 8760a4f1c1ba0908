package upgrade

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/backup"
	"github.com/wemix/wemixvisor/backup/failpoint"
	supervisor "github.com/wemix/wemixvisor/init"
)

// BackupOptions say how one backup is made.
type BackupOptions struct {
	Reason         string // manual, scheduled; empty: manual
	IncludeSecrets bool   // also where the policy does not

	// Online takes the data without stopping the node, which stands still for a
	// moment instead. Such a backup is what a power cut would leave.
	Online bool
}

const reasonManual = "manual"

// reasonBackup is what a snapshot says that was made for a backup: nobody needs
// it any more when its archive is made, or will not be.
const reasonBackup = "backup"

// Create makes a backup. When it returns without an error, the archive is
// verified and durable.
//
// It returns [supervisor.ErrBusy] or [backup.ErrBusy] when something else is being
// done, [ErrCustody] when the node does not work in the data directory, and what
// [backup.Repo.Create] returns. Whatever it returns, the node runs as before.
func (b *Backups) Create(ctx context.Context, o BackupOptions) (backup.Info, error) {
	return do(ctx, b, "create", false, func(ctx context.Context, j *job) (backup.Info, error) {
		begun := time.Now()
		info, err := b.create(ctx, j, o)
		switch {
		case err == nil:
			b.took.Store(int64(time.Since(begun)))
			b.failure.Store(nil)
			b.tidy(ctx, j)
			level.Info(b.logger).Log("msg", "backup made", "id", info.ID, "bytes", info.Bytes, "data_bytes", info.DataBytes,
				"height", info.Origin.Height, "clean", info.Origin.CleanShutdown, "took", time.Since(begun).Round(time.Millisecond))
		case ctx.Err() == nil && !errors.Is(err, supervisor.ErrBusy) && !errors.Is(err, backup.ErrBusy):
			b.failures.Add(1)
			why := oneLine(err)
			b.failure.Store(&why)
		}
		return info, err
	})
}

func (b *Backups) create(ctx context.Context, j *job, o BackupOptions) (info backup.Info, err error) {
	if b.cfg.Node != nil && b.cfg.Node.Status().Change != nil {
		return info, supervisor.ErrBusy // sooner than after the preparations
	}
	if err := b.Holding(); err != nil {
		return info, err
	}
	if err := b.custody(); err != nil {
		return info, err
	}
	policy := b.cfg.Policy()
	options := backup.CreateOptions{
		Reason: o.Reason, IncludeSecrets: o.IncludeSecrets || policy.IncludeSecrets,
		Level: policy.Level, Workers: policy.Workers, Rate: policy.Rate,
	}
	if options.Reason == "" {
		options.Reason = reasonManual
	}
	// All that can fail does so before the node is stopped.
	if err := b.cfg.Repo.Room(ctx, backup.Source{Tree: b.tree()}, options); err != nil {
		return info, err
	}
	origin, err := b.origin(ctx)
	if err != nil {
		return info, err
	}
	p, err := b.cfg.Snapshots.Prepare(ctx)
	if err != nil {
		return info, err
	}
	for _, w := range p.Warnings {
		level.Warn(b.logger).Log("msg", "this backup is dearer than it could be", "why", w)
	}
	snap, err := b.snapshot(ctx, j, origin, p, o.Online)
	if snap.ID == "" {
		if ctx.Err() == nil {
			if derr := b.cfg.Snapshots.Discard(ctx); derr != nil {
				level.Warn(b.logger).Log("msg", "what was prepared for the backup is not deleted; it is at the next start", "err", derr)
			}
		}
		return info, err
	}
	failpoint.At("backups.snapshot")
	defer b.drop(ctx, snap.ID)
	if err != nil { // the backup is as good as any; the node's own alert tells the rest
		level.Error(b.logger).Log("msg", "node not started after its snapshot was made", "err", err)
	}
	info, err = b.pack(ctx, j, snap, options)
	failpoint.At("backups.archived")
	return info, err
}

// snapshot makes the rollback point. The error may be that the node did not come
// up again although there is one.
func (b *Backups) snapshot(ctx context.Context, j *job, o backup.Origin, p backup.Prepared, online bool) (snap backup.Snapshot, err error) {
	if p.Partial != "" {
		return snap, fmt.Errorf("%w: %s", backup.ErrPartial, p.Partial)
	}
	// Whoever is told to end gives up, and the supervisor may still be making it.
	made := make(chan backup.Snapshot, 1)
	keep := func(s backup.Snapshot, err error) error {
		if err == nil {
			made <- s
		}
		return err
	}
	if online && b.cfg.Node != nil && b.cfg.Node.Status().Pid != 0 {
		j.stage(stageSnapshot)
		err = b.cfg.Node.Frozen(ctx, KindBackup, "", func(ctx context.Context) error {
			return keep(b.cfg.Snapshots.CommitFrozen(ctx, reasonBackup, b.seen(o)))
		})
	} else {
		err = b.whileDown(ctx, j, KindBackup, "", func(ctx context.Context) error {
			failpoint.At("backups.stopped")
			j.stage(stageSnapshot)
			o := b.seen(o)
			o.Consistency, o.CleanShutdown = backup.Stopped, b.clean()
			if !o.CleanShutdown && b.cfg.Node != nil {
				level.Warn(b.logger).Log("msg", "node was not stopped cleanly; the backup says so, and may lack its newest blocks")
			}
			return keep(b.cfg.Snapshots.Commit(ctx, reasonBackup, o))
		}, nil)
	}
	select {
	case snap = <-made:
	default:
	}
	if !j.stopping.IsZero() && err == nil {
		if down := b.cfg.Node.Status().Started.Sub(j.stopping); down > 0 {
			b.down.Store(int64(down))
			level.Info(b.logger).Log("msg", "node is up again; its archive is made beside it", "snapshot", snap.ID,
				"window", snap.Window.Round(time.Microsecond), "down", down.Round(time.Millisecond))
		}
	}
	return snap, err
}

// pack makes the archive of a snapshot.
func (b *Backups) pack(ctx context.Context, j *job, snap backup.Snapshot, o backup.CreateOptions) (backup.Info, error) {
	j.stage(stageArchive)
	o.Origin = snap.Origin
	o.OnProgress = j.progress
	first := true
	o.OnVerify = func(p backup.Progress) {
		if first {
			first = false
			j.stage(stageVerify)
		}
		j.progress(p)
	}
	info, err := b.cfg.Repo.Create(ctx, backup.Source{Tree: backup.Tree{Root: snap.Root}, Live: b.cfg.Data}, o)
	j.mu.Lock()
	j.id = info.ID
	j.mu.Unlock()
	return info, err
}

// Archive makes an archive of a snapshot that an upgrade has made, when its turn
// comes, and returns its id. It is the Archive of [Config].
func (b *Backups) Archive(ctx context.Context, s backup.Snapshot) (string, error) {
	return do(ctx, b, "archive", true, func(ctx context.Context, j *job) (string, error) {
		policy := b.cfg.Policy()
		name, _ := strings.CutPrefix(s.Reason, reasonOf(""))
		info, err := b.pack(ctx, j, s, backup.CreateOptions{
			Reason: "upgrade", Upgrade: name, IncludeSecrets: policy.IncludeSecrets,
			Level: policy.Level, Workers: policy.Workers, Rate: policy.Rate,
		})
		if err == nil {
			b.tidy(ctx, j)
		} else if ctx.Err() == nil {
			b.failures.Add(1)
		}
		return info.ID, err
	})
}

// drop deletes the snapshot of a backup. One that cannot be is dropped at the next
// start.
func (b *Backups) drop(ctx context.Context, id string) {
	if ctx.Err() != nil { // no time: the node is being stopped
		return
	}
	if err := b.cfg.Snapshots.Drop(ctx, id); err != nil && ctx.Err() == nil {
		level.Warn(b.logger).Log("msg", "snapshot of the backup not dropped; it is at the next start", "snapshot", id, "err", err)
	}
}

// tidy prunes, after a success, and deletes what a swap took out of the way
// before: from now on there is a backup of what came after it.
func (b *Backups) tidy(ctx context.Context, j *job) {
	j.stage(stagePrune)
	gone, err := b.cfg.Repo.Prune(ctx, b.cfg.Policy().Keep, false)
	if err != nil && ctx.Err() == nil {
		level.Warn(b.logger).Log("msg", "old backups not pruned; they stay until the next one", "err", err)
	}
	for _, info := range gone {
		level.Info(b.logger).Log("msg", "backup pruned", "id", info.ID, "bytes", info.Bytes)
	}
	failed, err := b.cfg.Snapshots.Failed()
	for _, id := range failed {
		err = errors.Join(err, b.cfg.Snapshots.DropFailed(ctx, id))
	}
	if err != nil && ctx.Err() == nil {
		level.Warn(b.logger).Log("msg", "data that was replaced not deleted; it takes up room", "err", err)
	}
}

// Verify reads an archive, or with an empty id every one, and returns what they
// are afterwards. The error is that of the first that is damaged; all are read.
func (b *Backups) Verify(ctx context.Context, id string) ([]backup.Info, error) {
	return do(ctx, b, "verify", false, func(ctx context.Context, j *job) ([]backup.Info, error) {
		ids := []string{id}
		if id == "" {
			ids = nil
			all, err := b.cfg.Repo.List()
			if err != nil {
				return nil, err
			}
			for _, info := range all {
				ids = append(ids, info.ID)
			}
		}
		infos := []backup.Info{}
		var first error
		for _, id := range ids {
			j.mu.Lock()
			j.id = id
			j.mu.Unlock()
			j.stage(stageVerify)
			err := b.cfg.Repo.Verify(ctx, id, j.progress)
			if ctx.Err() != nil {
				return infos, ctx.Err()
			}
			if err != nil && first == nil {
				first = err
			}
			info, ierr := b.cfg.Repo.Info(id)
			if ierr != nil {
				info.ID = id
			}
			if info.Verified = err == nil; err != nil && info.Damage == "" {
				info.Damage = oneLine(err)
			}
			infos = append(infos, info)
		}
		return infos, first
	})
}

// Prune deletes what nothing keeps, or with dryRun only says what that is.
func (b *Backups) Prune(ctx context.Context, dryRun bool) ([]backup.Info, error) {
	return do(ctx, b, "prune", false, func(ctx context.Context, j *job) ([]backup.Info, error) {
		j.stage(stagePrune)
		return b.cfg.Repo.Prune(ctx, b.cfg.Policy().Keep, dryRun)
	})
}

// Remove deletes one archive.
func (b *Backups) Remove(ctx context.Context, id string) (backup.Info, error) {
	return do(ctx, b, "remove", false, func(ctx context.Context, j *job) (backup.Info, error) {
		info, err := b.cfg.Repo.Info(id)
		if err != nil && !errors.Is(err, backup.ErrCorrupt) {
			return info, err
		}
		info.ID = id
		return info, b.cfg.Repo.Remove(ctx, id)
	})
}
