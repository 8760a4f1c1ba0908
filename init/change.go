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
	// Revert runs, node down, after Apply, the start or Confirm failed, and is
	// told with what; nil does nothing. When it fails, the node is held down.
	Revert func(ctx context.Context, why error) error

	// Over is called from the supervisor's loop when the change has ended, with
	// what Change returns; it must not block. Who hands a change out by
	// Config.Next has no other way to learn it.
	Over func(err error)
}

// Errors of a change's steps.
var (
	// ErrExited is the cause of a Confirm context whose node has exited.
	ErrExited = errors.New("node exited")
	// ErrHold is what a Revert wraps that wants the node held down although all
	// of it was reverted: its message is the reason.
	ErrHold = errors.New("held down")
	// ErrLeave is what an Apply returns after which the node is not to be
	// started here: nothing is reverted, and Run ends with it.
	ErrLeave = errors.New("leaving")
)

// Stage says how far the change in progress has come, for those who look at
// the status. It is for the change's own steps: the loop waits for them, so the
// status is theirs meanwhile.
func (s *Supervisor) Stage(name string) {
	s.publish(func(st *Status) {
		if st.Change != nil {
			st.Change = &Progress{Kind: st.Change.Kind, Name: st.Change.Name, Stage: name, Since: time.Now()}
		}
	})
}

// next asks whether a change shall take the place of a start: before the first
// one, and after an exit that nobody asked for.
func (s *Supervisor) next(ctx context.Context, end *Ended) (c *Change) {
	if s.cfg.Next == nil {
		return nil
	}
	_ = s.wait(func() error { // it may read a disk that is slow
		c = s.cfg.Next(ctx, end)
		return nil
	})
	return c
}

// Change stops the node, applies c and starts the node again. It returns nil
// when c was confirmed, and otherwise why it was not; the node then runs as
// before, if it could be started. It returns [ErrBusy] when something else is
// in progress.
func (s *Supervisor) Change(ctx context.Context, c Change) error {
	return s.ask(ctx, func(ctx context.Context) error { return s.change(ctx, c) })
}

func (s *Supervisor) change(ctx context.Context, c Change) (err error) {
	logger := s.logger
	if c.Over != nil {
		defer func() { c.Over(err) }()
	}
	stage := func(name string) {
		s.publish(func(st *Status) {
			st.Change = &Progress{Kind: c.Kind, Name: c.Name, Stage: name, Since: time.Now()}
		})
		level.Debug(logger).Log("msg", "change", "kind", c.Kind, "name", c.Name, "stage", name)
	}
	defer s.publish(func(st *Status) { st.Change = nil })

	stage("stopping")
	s.stop(c.Kind)
	err = func() error {
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
	if errors.Is(err, ErrLeave) {
		s.leaving = true
		return err
	}
	level.Warn(logger).Log("msg", "change failed; going back", "kind", c.Kind, "name", c.Name, "err", err)
	stage("reverting")
	s.stop(c.Kind + " failed")
	if c.Revert != nil {
		if rerr := s.wait(func() error { return c.Revert(ctx, err) }); rerr != nil {
			reason := fmt.Sprintf("%s failed and could not be reverted: %v", c.Kind, rerr)
			if errors.Is(rerr, ErrHold) {
				reason = rerr.Error()
			}
			s.stick(reason)
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
