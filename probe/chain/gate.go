package chain

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// GateConfig is what a Gate needs.
type GateConfig struct {
	Follower *Follower
	Timeout  time.Duration // how long a stop waits; 0: not at all
	Hold     bool          // wait on after that; else stop all the same, loudly
	Logger   log.Logger

	// OnOverdue is called when the time is over, with what it waited for, before
	// the node is stopped or held. Optional; it must not block.
	OnOverdue func(reason string)
}

// Gate keeps a validator from being stopped while its network needs it: every
// planned stop waits here first. A signal from outside does not.
type Gate struct {
	cfg GateConfig

	mu      sync.Mutex // guards what follows
	waiters int
	since   time.Time
	reason  string
}

// NewGate returns a Gate.
func NewGate(cfg GateConfig) *Gate {
	if cfg.Logger == nil {
		cfg.Logger = log.NewNopLogger()
	}
	return &Gate{cfg: cfg}
}

// lookEvery is how often a waiter looks at what is known: no question is asked
// for it.
const lookEvery = 100 * time.Millisecond

// Wait returns nil when the node may be stopped, which is to be done at once:
// the answer is good for some blocks. It may, too, when nobody can tell, and
// when the time is over and the policy says to proceed. An error is ctx's.
func (g *Gate) Wait(ctx context.Context) error {
	f := g.cfg.Follower
	defer f.watcher.hurry()()
	defer g.enter()()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	began, overdue, told := time.Now(), false, map[string]bool{asking: true} // each wait begins with that
	for {
		now := time.Now()
		c := f.Consensus()
		ok, reason := c.MayStop(now)
		if ok && !c.settled(began, now) {
			ok, reason = false, asking
		}
		if ok {
			if reason != "" {
				level.Warn(g.cfg.Logger).Log("msg", "stopping a validator", "warning", reason)
			} else if waited := now.Sub(began); waited > time.Second {
				level.Info(g.cfg.Logger).Log("msg", "the chain can do without this validator now", "height", c.Head.Number, "waited", waited.Round(time.Second))
			}
			return nil
		}
		g.because(reason)
		if !told[reason] { // not each time: reasons come and go with every block
			told[reason] = true
			level.Info(g.cfg.Logger).Log("msg", "a stop waits for the chain", "reason", reason, "height", c.Head.Number)
		}
		if !overdue && now.Sub(began) >= g.cfg.Timeout {
			overdue = true
			if g.cfg.OnOverdue != nil {
				g.cfg.OnOverdue(reason)
			}
			if !g.cfg.Hold {
				level.Warn(g.cfg.Logger).Log("msg", "waited long enough; stopping the validator all the same", "reason", reason, "waited", now.Sub(began).Round(time.Second))
				return nil
			}
			level.Warn(g.cfg.Logger).Log("msg", "waited long enough; holding on all the same", "reason", reason, "waited", now.Sub(began).Round(time.Second))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the chain to do without this validator (%s): %w", reason, ctx.Err())
		case <-tick.C:
		}
	}
}

// Waiting returns why stops wait at present, and since when; no reason when none
// does.
func (g *Gate) Waiting() (reason string, since time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reason, g.since
}

// enter counts a waiter in; the returned function counts it out.
func (g *Gate) enter() func() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiters++; g.waiters == 1 {
		g.since = time.Now()
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.waiters--; g.waiters == 0 {
			g.reason, g.since = "", time.Time{}
		}
	}
}

// because publishes the reason. One who has just come knows none better than
// those who wait already.
func (g *Gate) because(reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if reason != asking || g.reason == "" {
		g.reason = reason
	}
}

// settled reports whether c may open a gate that is waited at since began: what
// was known before is too old for that. A silent node is given one more call.
func (c Consensus) settled(began, now time.Time) bool {
	return c.Started.IsZero() || c.Asked.After(began) || c.Known && c.Kind == "" ||
		!c.Silent.IsZero() && now.Sub(began) > callTimeout
}
