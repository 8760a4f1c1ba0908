package upgrade

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/backup"
	"github.com/wemix/wemixvisor/backup/failpoint"
	supervisor "github.com/wemix/wemixvisor/init"
)

// KindUpgrade is the kind of the supervisor's change that applies a plan.
const KindUpgrade = "upgrade"

const sigterm = syscall.SIGTERM

// ErrNotConfirmed says that a new binary did not pass its trial.
var ErrNotConfirmed = errors.New("not confirmed")

// Errors of a switch that end up as reasons.
var (
	errUnclean = errors.New("the node needed SIGKILL to stop, so its data is not clean; the old binary was started again")
	errSilent  = errors.New("its RPC never answered")
	errAborted = errors.New("rolled back by request")
)

// attempt is one switch to another binary and its trial, or the trial alone
// where an earlier supervisor made the switch. Its fields belong to the steps of
// the change, which run one after the other.
type attempt struct {
	u      *Upgrader
	name   string
	logger log.Logger

	began   time.Time // when the node was told to stop, or ended
	applied time.Time // when all but the link was done
	resumed bool
	ending  bool // it is known how the node ended
	clean   bool // it had written all it knew
	hooked  bool // a hook may have changed the data
	linked  bool
	forked  bool // the new binary has told its forks
	down    Downtime

	// How the plan is when all has gone back.
	end   Stage
	held  bool
	asked bool // somebody wants it to go back
	data  bool // and the data too

	ended   atomic.Bool
	abort   chan bool     // a request to go back in mid-trial; the value: the data too
	confirm chan struct{} // a request to be content
}

// open journals that a plan is about to be applied. The turn is held.
func (u *Upgrader) open(r *Record, f Facts) (*attempt, error) {
	a := u.attempt(r.Name)
	previous := u.cfg.Home.folder()
	if previous == "" {
		return nil, fmt.Errorf("%s cannot be read", u.cfg.Home.link())
	}
	sum := u.current256(previous)
	var is *Record
	err := u.journal.update(func(s *state) {
		is = s.record(r.Name)
		attempts := 0
		if is.Switch != nil {
			attempts = is.Switch.Attempts
		}
		is.Switch = &Switch{
			Step: stepStop, Began: a.began, Attempts: attempts,
			Previous: previous, PreviousSHA256: sum,
			Head: f.Height, HeadKnown: f.Known, Hash: f.Hash, Forks: u.known(),
		}
		if r.Height > 0 && f.Known && f.Height > r.Height {
			is.Switch.Late = f.Height - r.Height
		}
		is.enter(Switching, "", a.began)
	})
	if err != nil {
		return nil, err
	}
	failpoint.At("upgrade.opened")
	u.current.Store(a)
	u.tell(is)
	return a, nil
}

func (u *Upgrader) attempt(name string) *attempt {
	return &attempt{
		u: u, name: name, logger: log.With(u.logger, "plan", name),
		began: time.Now(), end: Failed,
		abort: make(chan bool, 1), confirm: make(chan struct{}, 1),
	}
}

// change is the attempt as the supervisor makes it.
func (a *attempt) change() supervisor.Change {
	c := supervisor.Change{
		Kind: KindUpgrade, Name: a.name,
		Apply: a.apply, Confirm: a.try, Revert: a.revert, Over: a.over,
	}
	if a.resumed {
		c.Apply = nil
	}
	return c
}

func (a *attempt) stage(name string) { a.u.cfg.Node.Stage(name) }

func (a *attempt) record() *Record { return a.u.journal.read().record(a.name) }

// apply runs with the node down: snapshot, hooks, link. Whatever it returns
// before the first hook ran leaves all as it was.
func (a *attempt) apply(ctx context.Context) error {
	u := a.u
	r := a.record()
	a.stage("switching")
	if last := u.cfg.Node.Status().Last; last != nil && !a.ending {
		if last.Asked && last.Killed {
			a.end, a.held = Waiting, true
			return fmt.Errorf("%w; to try again: wemixvisor upgrade retry %s", errUnclean, a.name)
		}
		a.clean = clean(*last)
	}
	a.down.Stop = time.Since(a.began)
	failpoint.At("upgrade.stopped")
	if err := u.recheck(ctx, r); err != nil {
		a.end = NotReady
		return err
	}
	at := time.Now()
	if err := backup.Sleep(ctx, u.cfg.RestartDelay); err != nil {
		return err
	}
	a.down.Start = time.Since(at) // and the rest of it at the start
	at = time.Now()
	snapshot, err := a.commit(ctx, r)
	if err != nil {
		return err
	}
	a.down.Snapshot = time.Since(at)
	failpoint.At("upgrade.snapshot")

	at = time.Now()
	hooks, err := u.hooks(r)
	if err != nil {
		return err
	}
	if len(hooks) > 0 {
		if err := u.provided(ctx, r); err != nil {
			a.end = NotReady
			return err
		}
		if err := u.journal.update(func(s *state) {
			sw := s.record(a.name).Switch
			sw.Step, sw.Snapshot, sw.Clean = stepHook, snapshot, a.clean
		}); err != nil {
			return err
		}
		failpoint.At("upgrade.hooking")
		a.hooked = true
		a.stage("hook")
		if err := u.runHooks(ctx, r, hooks); err != nil {
			return err
		}
		failpoint.At("upgrade.hooked")
	}
	a.down.Hook = time.Since(at)
	a.applied = time.Now()
	return a.link(snapshot)
}

// commit makes the rollback point, and where that is required its archive.
func (a *attempt) commit(ctx context.Context, r *Record) (id string, err error) {
	u := a.u
	if u.cfg.SkipBackup {
		return "", nil
	}
	a.stage("snapshot")
	f := u.cfg.Facts()
	sw := r.Switch
	snapshot, err := u.cfg.Snapshots.Commit(ctx, reasonOf(r.Name), backup.Origin{
		Binary: sw.PreviousSHA256, Version: u.journal.read().Seen[sw.PreviousSHA256].Version,
		Upgrade: folderName(sw.Previous), ChainID: f.ChainID, Genesis: f.Genesis,
		Height: sw.Head, Hash: sw.Hash, CleanShutdown: a.clean, Consistency: backup.Stopped,
	})
	if err != nil {
		return "", err
	}
	u.turn.Lock()
	u.ahead.at = time.Time{} // what was made ready is used up
	u.turn.Unlock()
	if u.cfg.RequireArchive == ArchiveBefore {
		if u.cfg.Archive == nil {
			return "", errors.New("backup-require-archive is before, and there is no repository")
		}
		a.stage("archive")
		archive, err := u.cfg.Archive(ctx, snapshot)
		if err != nil {
			return "", fmt.Errorf("archive before the upgrade: %w", err)
		}
		u.record("note the archive", func(s *state) { s.record(a.name).Switch.Archive = archive })
	}
	return snapshot.ID, nil
}

// link is the point after which the new binary runs. What it supersedes goes in
// the same entry of the journal.
func (a *attempt) link(snapshot string) error {
	u := a.u
	var moot []*Record
	if err := u.journal.update(func(s *state) {
		moot = nil
		now := time.Now()
		r := s.record(a.name)
		sw := r.Switch
		sw.Step, sw.Snapshot, sw.Clean = stepLink, snapshot, a.clean
		sw.Starts, sw.Downtime, s.Node.Clean = 1, a.down, false
		if u.cfg.LeaveAfter {
			sw.Starts = 0
		}
		for _, o := range s.Records {
			if supersedes(r, o) {
				o.enter(Superseded, "by "+r.Name, now)
				moot = append(moot, o)
			}
		}
		r.enter(Confirming, "", now)
	}); err != nil {
		return err
	}
	failpoint.At("upgrade.linking")
	err := u.cfg.Home.Switch(a.record().folder())
	a.linked = err == nil || u.cfg.Home.folder() == a.record().folder()
	if err != nil {
		return err
	}
	failpoint.At("upgrade.linked")
	for _, o := range moot {
		u.tell(o)
		u.tidy(o)
	}
	if u.cfg.LeaveAfter {
		level.Info(a.logger).Log("msg", "binary switched; leaving, the next start is its trial")
		return supervisor.ErrLeave
	}
	return nil
}

// recheck makes sure that the binary is still the one that was prepared.
func (u *Upgrader) recheck(ctx context.Context, r *Record) error {
	if u.stat(r) == r.File {
		return nil
	}
	sum, err := hashFile(ctx, u.binary(r))
	if err != nil {
		return err
	}
	if sum != r.SHA256 {
		return fmt.Errorf("%s is not the file that was checked; the old binary was started again", u.binary(r))
	}
	return nil
}

// over ends the attempt. It runs in the supervisor's loop.
func (a *attempt) over(err error) {
	u := a.u
	a.ended.Store(true)
	r := a.record()
	switch st := u.cfg.Node.Status(); {
	case err == nil, errors.Is(err, supervisor.ErrLeave):
	case st.Held && r.Stage.Over():
		u.alarms.fire("node_held", "the node is held down: "+st.Reason, true)
	case r.Stage == Switching || r.Stage == Confirming:
		// The supervisor ended in the middle of it, or what failed could not be
		// reverted: the journal says what is to be done at the next start.
		if a.linked && r.Stage == Confirming && r.Switch.Step == stepLink {
			u.record("note an orderly end", func(s *state) { s.record(a.name).Switch.Orderly = true })
		}
	}
	u.current.Store(nil)
	u.wake()
}

// reasonOf is what a snapshot says it was made for.
func reasonOf(name string) string { return "upgrade " + name }

// folderName is the name of what the link names.
func folderName(folder string) string { return strings.TrimPrefix(folder, "upgrades/") }
