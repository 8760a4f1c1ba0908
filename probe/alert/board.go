package alert

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

const (
	// A condition must be gone for this long before its alert is resolved, and
	// twice as long for each time it came back within the last flapWindow, so
	// that a value that swings around its limit is one alert and not a hundred.
	linger     = 15 * time.Second
	lingerMax  = 4 * time.Minute
	flapWindow = 10 * time.Minute

	// history is how many resolved alerts are kept.
	history = 20
)

// BoardConfig is what a Board needs.
type BoardConfig struct {
	Rules   []Rule
	Scene   func() Scene
	OnAlert func(Alert) // each firing and each end of one, once; must not block
	Logger  log.Logger
}

// Board asks the rules and keeps what fires and what did.
type Board struct {
	cfg     BoardConfig
	entries []*entry
	alerts  atomic.Pointer[[]Alert]
	next    atomic.Pointer[[]Rule] // not taken over yet

	resolved []Alert // the last ones, newest first; owned by Run, like what entries hold
}

// entry is what is known of one rule.
type entry struct {
	Rule
	fired  atomic.Uint64
	firing atomic.Bool

	began  time.Time // of the condition; zero: there is none
	gone   time.Time // since when there is none, while it still fires
	ended  time.Time // when it was resolved last
	linger time.Duration
	alert  Alert
}

// Tally is how often one rule has fired.
type Tally struct {
	Name   string
	Fired  uint64
	Firing bool
}

// NewBoard returns a Board. Don't forget to Run it.
func NewBoard(cfg BoardConfig) *Board {
	if cfg.Logger == nil {
		cfg.Logger = log.NewNopLogger()
	}
	b := &Board{cfg: cfg}
	for _, r := range cfg.Rules {
		b.entries = append(b.entries, &entry{Rule: r})
	}
	b.alerts.Store(&[]Alert{})
	return b
}

// Alerts returns those that fire, then the last resolved ones, each newest
// first. Nobody changes the slice.
func (b *Board) Alerts() []Alert { return *b.alerts.Load() }

// Tallies returns all rules in their order.
func (b *Board) Tallies() []Tally {
	all := make([]Tally, len(b.entries))
	for i, e := range b.entries {
		all[i] = Tally{e.Name, e.fired.Load(), e.firing.Load()}
	}
	return all
}

// Run asks every second until ctx is done and closed is closed, which is the
// supervisor's end: what its last moments were like is asked too. A nil closed
// is not waited for.
func (b *Board) Run(ctx context.Context, closed <-chan struct{}) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	end := ctx.Done()
	for {
		select {
		case <-end:
			if closed == nil {
				b.turn(time.Now())
				return ctx.Err()
			}
			end, closed = closed, nil // now for the supervisor's
		case <-tick.C:
			b.turn(time.Now())
		}
	}
}

// SetRules has the rules of these names ask with other limits from the next turn
// on. What fires goes on firing until the new limits say otherwise.
func (b *Board) SetRules(rules []Rule) { b.next.Store(&rules) }

// turn asks every rule once.
func (b *Board) turn(now time.Time) {
	if rules := b.next.Swap(nil); rules != nil {
		for _, e := range b.entries {
			if i := slices.IndexFunc(*rules, func(r Rule) bool { return r.Name == e.Name }); i >= 0 {
				e.For, e.Check = (*rules)[i].For, (*rules)[i].Check
			}
		}
	}
	scene := b.cfg.Scene()
	changed := false
	for _, e := range b.entries {
		scene.Firing = e.firing.Load()
		changed = b.judge(e, e.Check(scene), now) || changed
	}
	if changed {
		b.publish()
	}
}

// judge takes one answer and reports whether anything to be seen has changed.
func (b *Board) judge(e *entry, why string, now time.Time) bool {
	firing := e.firing.Load()
	switch {
	case why == Unknown:
		return false
	case why == "" && !firing:
		e.began = time.Time{}
		return false
	case why == "":
		if e.gone.IsZero() {
			e.gone = now
		}
		if now.Sub(e.gone) < e.linger {
			return false
		}
		b.resolve(e, now)
		return true
	case firing:
		e.gone = time.Time{}
		same := e.alert.Summary == why
		e.alert.Summary = why
		return !same
	}
	if e.began.IsZero() {
		e.began = now
	}
	if now.Sub(e.began) < e.For {
		return false
	}
	b.fire(e, why, now)
	return true
}

func (b *Board) fire(e *entry, why string, now time.Time) {
	if e.ended.IsZero() || now.Sub(e.ended) > flapWindow {
		e.linger = linger
	} else {
		e.linger = min(2*e.linger, lingerMax)
	}
	e.gone = time.Time{}
	e.alert = Alert{Name: e.Name, Severity: e.Severity, State: "firing", Since: now.UTC(), Summary: why}
	e.fired.Add(1)
	e.firing.Store(true)
	level.Warn(b.cfg.Logger).Log("msg", "alert", "alert", e.Name, "severity", e.Severity, "why", why)
	b.tell(e.alert)
}

func (b *Board) resolve(e *entry, now time.Time) {
	at := now.UTC()
	e.alert.State, e.alert.Resolved = "resolved", &at
	e.began, e.ended = time.Time{}, now
	e.firing.Store(false)
	b.resolved = slices.Insert(b.resolved, 0, e.alert)
	b.resolved = b.resolved[:min(len(b.resolved), history)]
	level.Info(b.cfg.Logger).Log("msg", "alert resolved", "alert", e.Name, "after", now.Sub(e.alert.Since).Round(time.Second))
	b.tell(e.alert)
}

func (b *Board) tell(a Alert) {
	if b.cfg.OnAlert != nil {
		b.cfg.OnAlert(a)
	}
}

func (b *Board) publish() {
	var all []Alert
	for _, e := range b.entries {
		if e.firing.Load() {
			all = append(all, e.alert)
		}
	}
	slices.SortStableFunc(all, func(x, y Alert) int { return y.Since.Compare(x.Since) })
	all = append(all, b.resolved...)
	b.alerts.Store(&all)
}
