package fetch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// transient is an error that may be gone the next time.
type transient struct {
	err   error
	after time.Duration // what the server asked us to wait; 0: nothing
}

func (t *transient) Error() string { return t.err.Error() }
func (t *transient) Unwrap() error { return t.err }

// download asks for what is missing until it is here, the error is one that
// stays, or the time is up.
func (f *Fetcher) download(ctx context.Context, from location, p *partial) error {
	within, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
	defer cancel()
	m := &meter{tell: f.cfg.OnProgress}
	m.update(p.size, p.said.Total, true)
	wait := f.cfg.Backoff
	for {
		before := p.size
		err := f.attempt(within, from, p, m)
		m.update(p.size, p.said.Total, true)
		var again *transient
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.As(err, &again):
			return err
		}
		if p.size > before {
			wait = f.cfg.Backoff // it goes on
		}
		pause := wait/2 + rand.N(wait) // jitter: a network's nodes upgrade together
		pause = max(pause, again.after)
		deadline, _ := within.Deadline()
		if time.Until(deadline) <= pause {
			return fmt.Errorf("gave up with %d bytes of it, the next attempt would be past the limit of %s: %w", p.size, f.cfg.Timeout, err)
		}
		if f.cfg.OnRetry != nil {
			f.cfg.OnRetry(err, pause)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
		wait = min(2*wait, maxBackoff)
	}
}
