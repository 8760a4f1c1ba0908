package backup

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrClock says that the clock is behind the newest backup, so that nobody knows
// how old one is.
var ErrClock = errors.New("the clock is behind")

// Policy says which archives stay. An archive stays if any of its rules wants it.
type Policy struct {
	KeepFull int // the newest full ones that are whole
	KeepDays int // those of the last days; 0: age keeps nothing
}

// keptUpgrades is of how many upgrades the archives made before them stay.
const keptUpgrades = 2

// Prune removes the archives that nothing keeps, the oldest first, and returns
// them; with dryRun it only returns them. Always kept are the newest one that is
// verified, those made before the last two upgrades, and damaged ones for which
// no newer whole one makes up.
//
// Order is that of the sequence numbers. Rules of age need the clock, and are
// refused with [ErrClock] when that is behind the newest archive.
func (r *Repo) Prune(ctx context.Context, p Policy, dryRun bool) ([]Info, error) {
	if !exists(r.cfg.Dir) {
		return nil, nil
	}
	if !dryRun { // which writes nothing, and so may run beside whoever does
		l, err := r.lock("prune")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		if _, err := r.sweep(); err != nil {
			return nil, err
		}
	}
	infos, err := r.List()
	if err != nil {
		return nil, err
	}
	gone, err := p.expired(infos, r.cfg.Now())
	if err != nil {
		return nil, fmt.Errorf("prune archives: %w", err)
	}
	for i, info := range gone {
		if dryRun {
			break
		}
		if err := r.remove(ctx, info.ID); err != nil {
			return gone[:i], err
		}
	}
	return gone, nil
}

// expired returns those that nothing keeps, oldest first, of infos, newest first.
func (p Policy) expired(infos []Info, now time.Time) (gone []Info, err error) {
	if p.KeepDays > 0 {
		for _, info := range infos {
			if info.Created.After(now) {
				return nil, fmt.Errorf("%w: it says %s, and %s is newer; nothing is pruned by age until it is right, or backup-keep-days is 0",
					ErrClock, now.UTC().Format(time.RFC3339), info.ID)
			}
		}
	}
	full, verified := 0, false
	upgrades := map[string]bool{}
	for _, info := range infos {
		keep := false
		if info.Verified {
			keep = !verified // the last verified one never goes
			verified = true
			if info.Kind == KindFull {
				full++
				keep = keep || full <= p.KeepFull
			}
		} else {
			keep = !verified || full < p.KeepFull
		}
		if info.Upgrade != "" && (upgrades[info.Upgrade] || len(upgrades) < keptUpgrades) {
			upgrades[info.Upgrade] = true
			keep = true
		}
		if p.KeepDays > 0 && now.Sub(info.Created) < time.Duration(p.KeepDays)*24*time.Hour {
			keep = true
		}
		if !keep {
			gone = append([]Info{info}, gone...)
		}
	}
	return gone, nil
}
