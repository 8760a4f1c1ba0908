package api

import (
	"context"
	"fmt"
	"net/http"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/alert"
)

// Action is the body of the node routes.
type Action struct {
	Args  []string `json:"args,omitempty"`  // the node's new arguments; none keeps those it has
	Force bool     `json:"force,omitempty"` // do not wait until the network can do without the node
}

// Result says what an action did.
type Result struct {
	State  string `json:"state"`
	PID    int    `json:"pid"`
	Ending bool   `json:"ending,omitempty"` // the supervisor ends too
}

func (s *Server) status(*http.Request) (Status, error)        { return s.cfg.Status(), nil }
func (s *Server) health(*http.Request) (probe.Health, error)  { return s.cfg.Health(), nil }
func (s *Server) alerts(*http.Request) ([]alert.Alert, error) { return s.cfg.Alerts(), nil }
func (s *Server) metrics(*http.Request) (any, error)          { return s.cfg.Metrics(), nil }
func (s *Server) version(*http.Request) (Version, error)      { return s.cfg.Version, nil }

func (s *Server) start(r *http.Request, a Action) (Result, error) {
	return s.result(s.cfg.Supervisor.Start(r.Context(), a.Args))
}

func (s *Server) restart(r *http.Request, a Action) (Result, error) {
	return s.result(s.spared(r.Context(), a, func(ctx context.Context) error {
		return s.cfg.Supervisor.Restart(ctx, a.Args)
	}))
}

func (s *Server) stop(r *http.Request, a Action) (Result, error) {
	err := s.spared(r.Context(), a, s.cfg.Supervisor.Stop)
	if err == nil && s.cfg.Detached {
		s.cfg.Quit()
	}
	return s.result(err)
}

// spared does what stops the node when the network can do without it. Who gives
// up meanwhile has stopped nothing.
func (s *Server) spared(ctx context.Context, a Action, stop func(context.Context) error) error {
	if a.Force && s.cfg.Forced != nil {
		s.cfg.Forced()
	}
	if a.Force || s.cfg.Gate == nil {
		return stop(ctx)
	}
	// What was good for one stop is not for the next: who comes second would take
	// down a node that is only just back.
	select {
	case s.stopping <- struct{}{}:
		defer func() { <-s.stopping }()
	default:
		return fmt.Errorf("%w: another stop waits for the network already", supervisor.ErrBusy)
	}
	if s.cfg.Supervisor.Status().Change != nil { // it need not wait to hear that
		return supervisor.ErrBusy
	}
	if err := s.cfg.Gate(ctx); err != nil {
		return err
	}
	return stop(ctx)
}

func (s *Server) result(err error) (Result, error) {
	if err != nil {
		return Result{}, err
	}
	st := s.cfg.Supervisor.Status()
	return Result{State: string(st.State), PID: st.Pid, Ending: s.cfg.Detached && st.State == supervisor.Stopped}, nil
}
