package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/wemix/wemixvisor/backup/durable"
	"github.com/wemix/wemixvisor/backup/failpoint"
)

// SnapshotterConfig says what is protected, and how carefully.
type SnapshotterConfig struct {
	Tree  Tree
	Floor Floor // room that stays the node's

	// External returns paths outside the tree in which the node keeps data, as it
	// is told by its arguments: an ancient store of its own. May be nil.
	External func() []string

	// Pace is asked before each chunk that is copied while the node runs, and
	// returns when that may go on. Nil: at once.
	Pace func(ctx context.Context, bytes int) error

	// OnProgress observes a copy that is made while the node runs. May be nil.
	OnProgress func(Progress)

	Now func() time.Time // nil: time.Now
}

// Snapshotter makes rollback points of a data directory, and goes back to them.
// They lie in .wemixvisor/ below it: a second name for a file, and a rename, must
// stay within one mount.
//
// A snapshot is a full mirror of the tree beside its SNAPSHOT.json: hard links
// where the node never writes to a file again, copies of all else, without the
// node's identity. While the node runs, [Snapshotter.Prepare] makes the links, as
// often as is asked; with the node down, [Snapshotter.Commit] adds what came
// since, drops what went, and copies what may have changed.
type Snapshotter struct {
	cfg  SnapshotterConfig
	turn chan struct{} // one method at a time: a value in it is the right to work
	next *draft        // what Prepare made; owned by whoever has the turn
}

// NewSnapshotter returns a Snapshotter. It touches nothing before it is asked.
func NewSnapshotter(cfg SnapshotterConfig) *Snapshotter {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Snapshotter{cfg: cfg, turn: make(chan struct{}, 1)}
}

// site is the data directory as one call finds it.
type site struct {
	tree   Tree // resolved
	mounts mounts
	ours   string // .wemixvisor in it
}

func (s *site) snapshots() string { return filepath.Join(s.ours, "snapshots") }
func (s *site) failed() string    { return filepath.Join(s.ours, "failed") }
func (s *site) incoming() string  { return filepath.Join(s.ours, "incoming") }
func (s *site) journal() string   { return filepath.Join(s.ours, "swap.json") }
func (s *site) draft() string     { return filepath.Join(s.snapshots(), ".next") }

func (s *Snapshotter) look() (*site, error) {
	tree, err := s.cfg.Tree.resolve()
	if err != nil {
		return nil, err
	}
	m, err := readMounts()
	if err != nil {
		return nil, err
	}
	return &site{tree: tree, mounts: m, ours: filepath.Join(tree.Root, ownFolder)}, nil
}

// begin takes the turn, in this process and among processes.
func (s *Snapshotter) begin(ctx context.Context) (*site, func(), error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	at, err := s.look()
	if err == nil {
		err = makeFolders(at.ours)
	}
	var lock *os.File
	if err == nil {
		lock, err = ourLock(at.ours)
	}
	if err != nil {
		<-s.turn
		return nil, nil, spaceError(err)
	}
	return at, func() {
		unlock(lock)
		<-s.turn
	}, nil
}

// makeFolders makes what is missing on the way to dir, for nobody else to read:
// the mirrors hold what the node's folders hide.
func makeFolders(dir string) error {
	if exists(dir) {
		return nil
	}
	if err := makeFolders(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.SyncDir(filepath.Dir(dir))
}

// List returns the committed snapshots, newest first. One that cannot be read is
// left out, and named in the error, beside the others.
func (s *Snapshotter) List() ([]Snapshot, error) {
	at, err := s.look()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(at.snapshots())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var all []Snapshot
	var errs []error
	for _, e := range entries {
		if _, _, _, ok := ParseID(e.Name()); !ok {
			continue
		}
		one, err := at.find(e.Name())
		switch {
		case err == nil:
			all = append(all, one)
		case !errors.Is(err, ErrNotFound): // that one is no snapshot: it was not committed
			errs = append(errs, err)
		}
	}
	sortNewestFirst(all, func(s Snapshot) string { return s.ID })
	return all, errors.Join(errs...)
}

// find reads one snapshot by its id. One that a half swap is taking apart is none.
func (s *site) find(id string) (Snapshot, error) {
	if _, _, _, ok := ParseID(id); !ok {
		return Snapshot{}, fmt.Errorf("snapshot %q: %w", id, ErrNotFound)
	}
	if j, err := readSwap(s.journal()); err == nil && j.ID == id && j.Kind == swapRollback {
		return Snapshot{}, fmt.Errorf("snapshot %s: %w: it is being rolled back to", id, ErrNotFound)
	}
	return readSnapshot(filepath.Join(s.snapshots(), id))
}

// Drop deletes a snapshot, and gives back the space of what only it held.
//
// It is renamed first, so a crash halfway leaves what the next start sweeps, never
// a snapshot that lists but cannot be gone back to.
func (s *Snapshotter) Drop(ctx context.Context, id string) error {
	at, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if _, err := at.find(id); errors.Is(err, ErrNotFound) {
		return err
	}
	return at.discard(ctx, filepath.Join(at.snapshots(), id))
}

// Failed returns the ids of the data that swaps took out of the way, newest first.
func (s *Snapshotter) Failed() ([]string, error) {
	at, err := s.look()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(at.failed())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list failed data: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if _, _, _, ok := ParseID(e.Name()); ok {
			ids = append(ids, e.Name())
		}
	}
	sortNewestFirst(ids, func(id string) string { return id })
	return ids, nil
}

// DropFailed deletes data that a swap took out of the way.
func (s *Snapshotter) DropFailed(ctx context.Context, id string) error {
	at, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if _, _, _, ok := ParseID(id); !ok || !exists(filepath.Join(at.failed(), id)) {
		return fmt.Errorf("failed data %q: %w", id, ErrNotFound)
	}
	if exists(at.journal()) {
		return fmt.Errorf("drop failed data %s: %w", id, ErrUnfinished)
	}
	return at.discard(ctx, filepath.Join(at.failed(), id))
}

// discard takes a folder out of sight, and then deletes it.
func (s *site) discard(ctx context.Context, folder string) error {
	if err := setAside(folder, s.mounts); err != nil {
		return err
	}
	failpoint.At("backup.drop-renamed")
	if err := durable.SyncDir(filepath.Dir(folder)); err != nil {
		return err
	}
	failpoint.At("backup.drop-durable")
	return removeTree(ctx, aside(folder), s.mounts)
}
