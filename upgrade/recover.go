package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/backup"
	"github.com/wemix/wemixvisor/backup/failpoint"
	supervisor "github.com/wemix/wemixvisor/init"
)

const (
	// startsInTrial is at which start of a trial, orderly ends not counted, the
	// new binary is given up: it, or we beside it, has not lived through any.
	startsInTrial = 3
	// switchAttempts is how often a switch may be interrupted before the link.
	switchAttempts = 3
)

// Recover finishes or undoes what an earlier supervisor was in the middle of,
// and takes up a new binary of the image. It comes after the volume is locked
// and laid out, and before the node's first start. An error means that the node
// must not be started.
func (u *Upgrader) Recover(ctx context.Context) error {
	how, err := u.journal.Open()
	if err != nil && how != Lost {
		return err
	}
	if u.cfg.Snapshots != nil {
		r, rerr := u.cfg.Snapshots.Recover(ctx)
		if rerr != nil {
			return rerr
		}
		switch {
		case r.Finished != nil:
			level.Info(u.logger).Log("msg", "a rollback of the data was broken off; finished it", "snapshot", r.Finished.ID)
		case r.Undone != "":
			level.Warn(u.logger).Log("msg", "a change of the data was broken off; undid it", "id", r.Undone)
		}
	}
	failpoint.At("recover.data")
	if how != Found {
		if err := u.inventory(ctx, how, err); err != nil {
			return err
		}
	}
	if r := u.journal.read().active(); r != nil {
		if err := u.unfinished(ctx, r); err != nil {
			return err
		}
	}
	failpoint.At("recover.switch")
	u.orphans(ctx)
	for _, r := range u.journal.read().Records {
		u.alarm(r)
		u.tidy(r)
	}
	return u.image(ctx)
}

// inventory begins a journal with every binary of the volume as one that it has
// held. A volume that lost its journal keeps its current one, and what is
// planned on it waits for somebody to say that it was not done before.
func (u *Upgrader) inventory(ctx context.Context, how Opening, why error) error {
	folders, _ := filepath.Glob(filepath.Join(u.cfg.Home.Dir(), "upgrades", "*"))
	seen := map[string]string{}
	for _, folder := range append([]string{"genesis"}, folders...) {
		name := filepath.Base(folder)
		rel := "upgrades/" + name
		if folder == "genesis" {
			rel = folder
		}
		sum, err := hashFile(ctx, u.cfg.Home.binary(rel))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("take stock of %s: %w", folder, err)
		}
		seen[sum] = name
	}
	if how == Lost {
		level.Error(u.logger).Log("msg", "journal lost; the current binary stays, and plans that were there before wait for: wemixvisor upgrade retry", "current", u.cfg.Home.Current(), "err", why)
		u.alarms.fire("journal_lost", "the journal was lost: "+oneLine(why)+"; the current binary stays, old plans wait for a retry", true)
	}
	if err := u.journal.update(func(s *state) {
		s.Lost = how == Lost
		for sum, name := range seen {
			s.see(sum, name, "")
		}
	}); err != nil {
		return fmt.Errorf("begin journal: %w", err)
	}
	return nil
}

// unfinished brings a switch that was broken off to where it can go on.
func (u *Upgrader) unfinished(ctx context.Context, r *Record) error {
	sw := r.Switch
	link := u.cfg.Home.folder()
	logger := []any{"plan", r.Name, "stage", r.Stage, "step", sw.Step, "current", link}
	switch {
	case sw.Step == stepRevert:
		level.Warn(u.logger).Log(append(logger, "msg", "the way back was broken off; going on with it")...)
		err := u.goBack(ctx, r.Name)
		if errors.Is(err, supervisor.ErrHold) {
			u.holding = err // we stay, the node does not start
			return nil
		}
		return err
	case r.Stage == Confirming && link == sw.Previous:
		level.Warn(u.logger).Log(append(logger, "msg", "the switch was broken off; finishing it")...)
		if err := u.journal.update(func(s *state) { s.record(r.Name).Switch.Starts = 0 }); err != nil {
			return err
		}
		return u.cfg.Home.Switch(r.folder())
	case r.Stage == Confirming && link != r.folder():
		level.Warn(u.logger).Log(append(logger, "msg", "somebody has set the link during the trial; leaving it there")...)
		u.enter(r.Name, Failed, "the link was set to "+link+" during the trial", nil)
		return nil
	case r.Stage == Confirming:
		return nil // the trial goes on, see resume
	}
	// Before the link. A hook may have been at work on the data.
	clean := false
	if sw.Step == stepHook && sw.Snapshot != "" {
		level.Warn(u.logger).Log(append(logger, "msg", "a pre-upgrade hook was broken off; its data goes back")...)
		_, err := u.cfg.Snapshots.Rollback(ctx, sw.Snapshot)
		if err != nil && !errors.Is(err, backup.ErrNotFound) { // that one: it went back before we were broken off
			return fmt.Errorf("a pre-upgrade hook of plan %s was broken off, and its data cannot go back: %w", r.Name, err)
		}
		failpoint.At("recover.hook")
		clean = sw.Clean
	}
	attempts := sw.Attempts + 1
	if attempts >= switchAttempts {
		u.enter(r.Name, Failed, fmt.Sprintf("the switch was interrupted %d times, last at: %s; the old binary stays", attempts, sw.Step), nil)
		return nil
	}
	return u.journal.update(func(s *state) {
		if clean {
			s.Node.Clean = true
			s.Node.Height, s.Node.Hash, s.Node.Known = sw.Head, sw.Hash, sw.HeadKnown
		}
		r := s.record(r.Name)
		r.Switch.Attempts, r.Switch.Snapshot = attempts, ""
		r.enter(Prepared, "the switch was interrupted; it will be made again", time.Now())
	})
}

// resume goes on with the trial of a new binary, unless that has had its starts.
func (u *Upgrader) resume(r *Record) *supervisor.Change {
	sw := r.Switch
	a := u.attempt(r.Name)
	a.resumed, a.linked = true, true
	starts := sw.Starts + 1
	if sw.Orderly {
		starts = sw.Starts
	}
	starts = max(starts, 1)
	if starts >= startsInTrial {
		u.current.Store(a)
		c := a.change()
		c.Kind = KindRollback
		c.Apply = func(context.Context) error {
			return fmt.Errorf("%w: it was started %d times, and neither it nor its supervisor lived through the trial", ErrNotConfirmed, starts-1)
		}
		return &c
	}
	if err := u.journal.update(func(s *state) {
		sw := s.record(r.Name).Switch
		sw.Starts, sw.Orderly, s.Node.Clean = starts, false, false
	}); err != nil {
		// The next start would be uncounted: going on blindly could loop for ever.
		level.Error(u.logger).Log("msg", "trial not journalled; starting the new binary all the same", "plan", r.Name, "err", err)
	}
	failpoint.At("trial.resumed")
	level.Info(u.logger).Log("msg", "the trial goes on", "plan", r.Name, "starts", starts)
	u.current.Store(a)
	c := a.change()
	return &c
}

// orphans drops snapshots of upgrades that no plan points to: their switch was
// broken off.
func (u *Upgrader) orphans(ctx context.Context) {
	if u.cfg.Snapshots == nil {
		return
	}
	all, err := u.cfg.Snapshots.List()
	if err != nil {
		level.Warn(u.logger).Log("msg", "snapshots not listed", "err", err)
	}
	used := map[string]bool{}
	for _, r := range u.journal.read().Records {
		if r.Switch != nil {
			used[r.Switch.Snapshot] = true
		}
	}
	for _, s := range all {
		if used[s.ID] || !strings.HasPrefix(s.Reason, reasonOf("")) {
			continue
		}
		if err := u.cfg.Snapshots.Drop(ctx, s.ID); err != nil {
			level.Warn(u.logger).Log("msg", "snapshot of a broken-off upgrade not dropped", "snapshot", s.ID, "err", err)
		}
	}
}
