package upgrade

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/backup"
	supervisor "github.com/wemix/wemixvisor/init"
)

// Kinds of the supervisor's changes that backups need.
const (
	KindBackup  = "backup"
	KindRestore = "restore"
)

// BackupsConfig is what Backups need.
type BackupsConfig struct {
	Home Home
	Data string // the data directory

	// Node is the supervisor of the node. Nil: there is none, and the caller has
	// locked the volume.
	Node      *supervisor.Supervisor
	Snapshots *backup.Snapshotter
	Repo      *backup.Repo
	Logger    log.Logger

	// Policy is asked before each thing that is done. It must not block.
	Policy func() BackupPolicy
	// Facts returns what is known of the node's chain, and Version what the node
	// calls itself. Neither must block. May be nil.
	Facts   func() Facts
	Version func() string
	// Gate returns nil when the node may be stopped. See [Config].
	Gate func(ctx context.Context) error

	// OnEvent sees each stage of each job, and about once a second how far it has
	// come. It may be called from several goroutines, and must not block. May be nil.
	OnEvent func(BackupEvent)

	Now func() time.Time // nil: time.Now
}

// BackupPolicy says how backups are made and how long they stay. It may change
// while the node runs.
type BackupPolicy struct {
	Schedule       time.Duration // between two backups; 0: only on demand
	Level          int           // of zstd; 0: 1
	Workers        int           // 0: see [backup.CreateOptions]
	Rate           int64         // bytes a second; 0: no limit
	IncludeSecrets bool
	Keep           backup.Policy
}

// Backups makes archives of the node's data, by schedule and on demand, and
// restores them. One job is done at a time; who comes second is told so with
// [backup.ErrBusy].
//
// For a backup the node is stopped for as long as it takes to make a rollback
// point, which follows the bytes that the node changes and not those it has, and
// then started again, from the same binary. The archive is made of the rollback
// point while the node is up, and the rollback point dropped. All of that is one
// [supervisor.Change], so nothing else can be done to the node in the middle of it.
type Backups struct {
	cfg    BackupsConfig
	logger log.Logger

	turn chan struct{} // one job at a time: a value in it is the right to work
	jobs sync.WaitGroup
	life atomic.Pointer[context.Context] // of Run; nil: jobs end with their caller

	now     atomic.Pointer[BackupJob] // nil: none is under way
	ledger  atomic.Pointer[ledger]
	held    atomic.Pointer[error] // why the node must not be started
	binary  atomic.Pointer[hashed]
	failure atomic.Pointer[string] // why the last backup failed; nil: it did not

	failures atomic.Int64
	took     atomic.Int64 // the last backup, all of it; ns
	down     atomic.Int64 // of that the node's downtime; ns
}

// BackupJob is a job under way.
type BackupJob struct {
	Kind  string    `json:"kind"` // create, restore, verify, prune, remove, archive
	Stage string    `json:"stage"`
	Done  int64     `json:"done"`  // bytes of this stage
	Total int64     `json:"total"` // 0: not known
	Since time.Time `json:"since"` // of the job
}

// BackupEvent is a job that has come to a stage, or further in it.
type BackupEvent struct {
	BackupJob
	ID    string `json:"id,omitempty"`    // of the archive, once it is known
	Error string `json:"error,omitempty"` // with the stage failed
	Over  bool   `json:"over"`
}

// Stages of jobs.
const (
	stagePreparing = "preparing"
	stageGate      = "waiting for the gate"
	stageSnapshot  = "snapshot"
	stageArchive   = "archiving"
	stageVerify    = "verifying"
	stagePrune     = "pruning"
	stageDecode    = "decoding"
	stageSwap      = "swapping"
	stageDone      = "done"
	stageFailed    = "failed"
)

// ledger is what is on disk, as it was last looked at.
type ledger struct {
	archives  []backup.Info
	snapshots int
	err       error
}

// NewBackups returns Backups. Recover them before the node's first start, then
// don't forget to Run them.
func NewBackups(cfg BackupsConfig) *Backups {
	if cfg.Logger == nil {
		cfg.Logger = log.NewNopLogger()
	}
	if cfg.Policy == nil {
		cfg.Policy = func() BackupPolicy { return BackupPolicy{} }
	}
	if cfg.Facts == nil {
		cfg.Facts = func() Facts { return Facts{} }
	}
	if cfg.Version == nil {
		cfg.Version = func() string { return "" }
	}
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(BackupEvent) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	b := &Backups{cfg: cfg, logger: cfg.Logger, turn: make(chan struct{}, 1)}
	b.ledger.Store(&ledger{})
	return b
}

// Run makes backups by schedule until ctx is done, and returns when no job is
// under way any more. Jobs that callers asked for end with ctx, not with them.
func (b *Backups) Run(ctx context.Context) error {
	b.life.Store(&ctx)
	defer b.jobs.Wait()
	s := schedule{b: b, started: b.cfg.Now()}
	tick := time.NewTicker(scheduleTick)
	defer tick.Stop()
	looked := time.Time{}
	for {
		if now := time.Now(); now.Sub(looked) >= lookEvery { // somebody else may have copied one here
			b.look()
			looked = now
		}
		if s.due() {
			_, err := b.Create(ctx, BackupOptions{Reason: reasonScheduled})
			s.made(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// lookEvery is how often the volume is looked at although we have not changed it.
const lookEvery = time.Minute

// look sees what is on disk.
func (b *Backups) look() {
	l := &ledger{}
	l.archives, l.err = b.cfg.Repo.List()
	snapshots, err := b.cfg.Snapshots.List()
	l.snapshots = len(snapshots)
	if l.err == nil {
		l.err = err
	}
	b.ledger.Store(l)
}

// List returns the archives, newest first.
func (b *Backups) List() ([]backup.Info, error) { return b.cfg.Repo.List() }

// Info returns one of them.
func (b *Backups) Info(id string) (backup.Info, error) { return b.cfg.Repo.Info(id) }

// Job returns what is being done; nil: nothing.
func (b *Backups) Job() *BackupJob { return b.now.Load() }

// BackupFigures is what is known without asking the disk.
type BackupFigures struct {
	Last, LastVerified *backup.Info // nil: there is none
	Snapshots          int
	Failures           int64
	Failure            string        // why the last backup failed; empty: it did not
	Took               time.Duration // the last backup that succeeded in this life
	Down               time.Duration // of that the node's downtime
}

// Figures returns them.
func (b *Backups) Figures() BackupFigures {
	l := b.ledger.Load()
	f := BackupFigures{
		Snapshots: l.snapshots, Failures: b.failures.Load(),
		Took: time.Duration(b.took.Load()), Down: time.Duration(b.down.Load()),
	}
	if why := b.failure.Load(); why != nil {
		f.Failure = *why
	}
	for i := range l.archives {
		if f.Last == nil {
			f.Last = &l.archives[i]
		}
		if f.LastVerified == nil && l.archives[i].Verified {
			f.LastVerified = &l.archives[i]
		}
	}
	return f
}

// job is one job as those see it who do it.
type job struct {
	b      *Backups
	mu     sync.Mutex
	is     BackupJob
	id     string
	silent time.Time // until then progress is not told

	stopping time.Time // when the node was asked to stop; zero: it was not
}

// tellEvery is how often somebody is told how far a job has come.
const tellEvery = time.Second

func (j *job) stage(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.is.Stage, j.is.Done, j.is.Total = name, 0, 0
	j.publish(true)
}

func (j *job) progress(p backup.Progress) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.is.Done, j.is.Total = p.Done, p.Total
	j.publish(false)
}

// publish shows the job; the mutex is held.
func (j *job) publish(always bool) {
	is := j.is
	j.b.now.Store(&is)
	if now := time.Now(); always || now.After(j.silent) {
		j.silent = now.Add(tellEvery)
		j.b.cfg.OnEvent(BackupEvent{BackupJob: is, ID: j.id})
	}
}

// do has one job done, in a goroutine that Run waits for: a caller that gives up
// does not cancel it, the end of Run does.
func do[A any](ctx context.Context, b *Backups, kind string, wait bool, f func(context.Context, *job) (A, error)) (answer A, err error) {
	if !wait {
		select {
		case b.turn <- struct{}{}:
		default:
			what := "something else"
			if j := b.now.Load(); j != nil {
				what = fmt.Sprintf("%s, %s since %s", j.Kind, j.Stage, j.Since.Format(time.RFC3339))
			}
			return answer, fmt.Errorf("%s: %w: %s", kind, backup.ErrBusy, what)
		}
	} else {
		select {
		case b.turn <- struct{}{}:
		case <-ctx.Done():
			return answer, ctx.Err()
		}
	}
	life := ctx
	if l := b.life.Load(); l != nil {
		if life = *l; life.Err() != nil { // Run waits for nobody new
			<-b.turn
			return answer, supervisor.ErrClosed
		}
	}
	type outcome struct {
		answer A
		err    error
	}
	over := make(chan outcome, 1)
	j := &job{b: b, is: BackupJob{Kind: kind, Stage: stagePreparing, Since: b.cfg.Now().UTC()}}
	b.jobs.Go(func() {
		j.stage(stagePreparing)
		a, err := f(life, j)
		b.look()
		j.end(err)
		<-b.turn // first: who has the answer may ask for the next thing at once
		over <- outcome{a, err}
	})
	select {
	case o := <-over:
		return o.answer, o.err
	case <-ctx.Done():
		if b.life.Load() == nil { // it is the caller's own, and ends now
			o := <-over
			return o.answer, o.err
		}
		return answer, ctx.Err()
	}
}

// end tells how the job went.
func (j *job) end(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := BackupEvent{BackupJob: j.is, ID: j.id, Over: true}
	e.Stage = stageDone
	if err != nil {
		e.Stage, e.Error = stageFailed, oneLine(err)
	}
	j.b.now.Store(nil)
	j.b.cfg.OnEvent(e)
	// Without a supervisor whoever asked is told, and there is nobody else.
	if err != nil && j.b.cfg.Node != nil && !errors.Is(err, context.Canceled) {
		level.Error(j.b.logger).Log("msg", "backup job failed", "job", j.is.Kind, "err", err)
	}
}
