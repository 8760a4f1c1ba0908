package api

import (
	"net/http"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/alert"
)

// Action is the body of the node routes.
type Action struct {
	Args []string `json:"args,omitempty"` // the node's new arguments; none keeps those it has
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
	return s.result(s.cfg.Supervisor.Restart(r.Context(), a.Args))
}

func (s *Server) stop(r *http.Request, _ Action) (Result, error) {
	err := s.cfg.Supervisor.Stop(r.Context())
	if err == nil && s.cfg.Detached {
		s.cfg.Quit()
	}
	return s.result(err)
}

func (s *Server) result(err error) (Result, error) {
	if err != nil {
		return Result{}, err
	}
	st := s.cfg.Supervisor.Status()
	return Result{State: string(st.State), PID: st.Pid, Ending: s.cfg.Detached && st.State == supervisor.Stopped}, nil
}
