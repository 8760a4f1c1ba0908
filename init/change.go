package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-kit/log/level"
)

// Change is something done to the node while it is down.
//
// The context of each step ends with the supervisor. Then nothing is reverted:
// whoever needs to finish or undo the step keeps a journal and does it before
// the next first start.
type Change struct {
	Kind, Name string

	// Apply runs while nobody of the node's generation is alive; nil does
	// nothing.
	Apply func(ctx context.Context) error
	// Confirm runs beside the started node; nil confirms at once. Its context
	// ends with ErrExited as cause when the node exits.
	Confirm func(ctx context.Context) error
	// Revert runs, node down, after Apply, the start or Confirm failed; nil
	// does nothing.
	Revert func(ctx context.Context) error
}

// ErrExited is the cause of a Confirm context whose node has exited.
var ErrExited = errors.New("node exited")

// Change stops the node, applies c and starts the node again. It returns nil
// when c was confirmed, and otherwise why it was not; the node then runs as
// before, if it could be started. It returns [ErrBusy] when something else is
// in progress.
func (s *Supervisor) Change(ctx context.Context, c Change) error {
	return s.ask(ctx, func(ctx context.Context) error { return s.change(ctx, c) })
}

func (s *Supervisor) change(ctx context.Context, c Change) error {
	logger := s.logger
	stage := func(name string) {
		s.publish(func(st *Status) {
			st.Change = &Progress{Kind: c.Kind, Name: c.Name, Stage: name, Since: time.Now()}
		})
		level.Debug(logger).Log("msg", "change", "kind", c.Kind, "name", c.Name, "stage", name)
	}
	defer s.publish(func(st *Status) { st.Change = nil })

	stage("stopping")
	s.stop(c.Kind)
	err := func() error {
		if ctx.Err() != nil { // the stop took its time
			return ctx.Err()
		}
		if c.Apply != nil {
			stage("applying")
			if err := s.wait(func() error { return c.Apply(ctx) }); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		stage("starting")
		if err := s.start(ctx); err != nil {
			return err
		}
		if c.Confirm == nil {
			return nil
		}
		stage("confirming")
		return s.confirm(ctx, c.Confirm)
	}()
	if err == nil || ctx.Err() != nil {
		return err
	}
	level.Warn(logger).Log("msg", "change failed; going back", "kind", c.Kind, "name", c.Name, "err", err)
	stage("reverting")
	s.stop(c.Kind + " failed")
	if c.Revert != nil {
		if rerr := s.wait(func() error { return c.Revert(ctx) }); rerr != nil {
			s.stick(fmt.Sprintf("%s failed and could not be reverted: %v", c.Kind, rerr))
			return errors.Join(err, fmt.Errorf("revert: %w", rerr))
		}
	}
	if serr := s.start(ctx); serr != nil {
		s.stick(fmt.Sprintf("%s failed and the node could not be started again: %v", c.Kind, serr))
		return errors.Join(err, serr)
	}
	return err
}

// confirm runs f until it returns, with a context that ends when the node does.
func (s *Supervisor) confirm(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n := s.node
	over := make(chan struct{})
	defer close(over)
	go func() { // ends with confirm
		select {
		case <-n.proc.Done():
			cancel(ErrExited)
		case <-over:
		}
	}()
	err := s.wait(func() error { return f(ctx) })
	select {
	case <-n.proc.Done(): // an exit outweighs whatever was confirmed before it
		return fmt.Errorf("%w: %s", ErrExited, n.proc.Exit())
	default:
		return err
	}
}
