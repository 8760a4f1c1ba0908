package supervisor

import (
	"context"
	"time"
)

// request is what others want done on the loop.
type request struct {
	do   func(context.Context) error
	done chan error
}

// patience is how long a request waits for the loop before it is refused.
const patience = 200 * time.Millisecond

// ask has the loop do f. A caller that gives up after the loop has taken the
// request does not cancel it: f gets the loop's context.
func (s *Supervisor) ask(ctx context.Context, f func(context.Context) error) error {
	req := request{f, make(chan error, 1)}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case s.requests <- req:
	case <-s.closed:
		return ErrClosed
	case <-timer.C:
		return ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-req.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Start starts the node; nil args are the ones it had. It returns [ErrRunning]
// when the node runs already.
func (s *Supervisor) Start(ctx context.Context, args []string) error {
	return s.ask(ctx, func(ctx context.Context) error {
		if s.node != nil {
			return ErrRunning
		}
		if args != nil {
			s.args = args
		}
		if err := s.start(ctx); err != nil {
			s.stick(err.Error())
			return err
		}
		return nil
	})
}

// Stop stops the node and holds it down until Start. It returns when nobody of
// its generation is left.
func (s *Supervisor) Stop(ctx context.Context) error {
	return s.ask(ctx, func(context.Context) error {
		s.stop("stopped by request")
		return nil
	})
}

// Restart stops the node and starts it again; nil args are the ones it had.
func (s *Supervisor) Restart(ctx context.Context, args []string) error {
	return s.Change(ctx, Change{Kind: "restart", Apply: func(context.Context) error {
		if args != nil {
			s.args = args // the loop waits for us, so it is ours for now
		}
		return nil
	}})
}
