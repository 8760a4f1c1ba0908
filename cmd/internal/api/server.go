package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/alert"
)

// Config is what a Server answers from.
type Config struct {
	Supervisor *supervisor.Supervisor
	Status     func() Status
	Health     func() probe.Health
	Alerts     func() []alert.Alert
	Metrics    func() any                                                   // what /metrics says, for JSON
	TestAlert  func(ctx context.Context, url string) ([]alert.Trial, error) // an empty URL: all that are set
	Version    Version
	Detached   bool   // the command start launched us: stop ends us too
	Quit       func() // ends the supervisor
}

// Version is what the program says of itself.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// bodyMax is the largest request body that is read.
const bodyMax = 1 << 20

// Server answers the API.
type Server struct {
	cfg Config
	mux *http.ServeMux

	testing chan struct{} // holds one test alert
}

// NewServer returns a Server. Don't forget to Serve.
func NewServer(cfg Config) *Server {
	s := &Server{cfg: cfg, mux: http.NewServeMux(), testing: make(chan struct{}, 1)}
	s.mux.HandleFunc("GET /api/v1/status", s.get(func() any { return cfg.Status() }))
	s.mux.HandleFunc("GET /api/v1/health", s.get(func() any { return cfg.Health() }))
	s.mux.HandleFunc("GET /api/v1/version", s.get(func() any { return cfg.Version }))
	s.mux.HandleFunc("GET /api/v1/metrics", s.get(cfg.Metrics))
	s.mux.HandleFunc("GET /api/v1/alerts", s.get(func() any { return cfg.Alerts() }))
	s.mux.HandleFunc("GET /api/v1/logs", s.logs)
	s.mux.HandleFunc("POST /api/v1/alerts/test", s.testAlert)
	s.mux.HandleFunc("POST /api/v1/node/start", s.start)
	s.mux.HandleFunc("POST /api/v1/node/stop", s.stop)
	s.mux.HandleFunc("POST /api/v1/node/restart", s.restart)
	return s
}

// ServeHTTP routes a request; one without a route is refused like any other.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := s.mux.Handler(r); pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	no := unrouted{header: w.Header()}
	s.mux.ServeHTTP(&no, r) // it tells a wrong verb from a wrong path, and says what is allowed
	code := map[int]string{http.StatusMethodNotAllowed: "method_not_allowed"}[no.status]
	if code == "" {
		no.status, code = http.StatusNotFound, "not_found"
	}
	w.Header().Del("Content-Length")
	refuse(w, no.status, code, fmt.Errorf("no such route: %s %s", r.Method, r.URL.Path))
}

// unrouted keeps the status of an answer and drops its text.
type unrouted struct {
	header http.Header
	status int
}

func (u *unrouted) Header() http.Header         { return u.header }
func (u *unrouted) WriteHeader(status int)      { u.status = status }
func (u *unrouted) Write(p []byte) (int, error) { return len(p), nil }

// Serve answers on ln until ctx is done and closed is closed: status must
// answer while the node takes its grace.
func (s *Server) Serve(ctx context.Context, ln net.Listener, closed <-chan struct{}) error {
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }() // ends with Shutdown or Close
	select {
	case err := <-done:
		return fmt.Errorf("serve control socket: %w", err)
	case <-ctx.Done():
	}
	<-closed
	// The answer to the stop that ended us is still on its way.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if srv.Shutdown(last) != nil {
		_ = srv.Close() // somebody follows the log
	}
	<-done
	return ctx.Err()
}

func (s *Server) get(value func() any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, value()) }
}

// Action is the body of the node routes and what they answer.
type Action struct {
	Args []string `json:"args,omitempty"` // the node's new arguments; none keeps those it has
}

// Result says what an action did.
type Result struct {
	State  string `json:"state"`
	PID    int    `json:"pid"`
	Ending bool   `json:"ending,omitempty"` // the supervisor ends too
}

func (s *Server) start(w http.ResponseWriter, r *http.Request) {
	s.act(w, r, func(a Action) error { return s.cfg.Supervisor.Start(r.Context(), a.Args) })
}

func (s *Server) restart(w http.ResponseWriter, r *http.Request) {
	s.act(w, r, func(a Action) error { return s.cfg.Supervisor.Restart(r.Context(), a.Args) })
}

func (s *Server) stop(w http.ResponseWriter, r *http.Request) {
	s.act(w, r, func(Action) error {
		err := s.cfg.Supervisor.Stop(r.Context())
		if err == nil && s.cfg.Detached {
			s.cfg.Quit()
		}
		return err
	})
}

func (s *Server) act(w http.ResponseWriter, r *http.Request, do func(Action) error) {
	var a Action
	if !read(w, r, &a) {
		return
	}
	switch err := do(a); {
	case err == nil:
		st := s.cfg.Supervisor.Status()
		answer(w, http.StatusOK, Result{State: string(st.State), PID: st.Pid, Ending: s.cfg.Detached && st.State == supervisor.Stopped})
	case errors.Is(err, supervisor.ErrBusy):
		refuse(w, http.StatusConflict, "busy", err)
	case errors.Is(err, supervisor.ErrRunning):
		refuse(w, http.StatusConflict, "running", err)
	case errors.Is(err, supervisor.ErrClosed):
		refuse(w, http.StatusConflict, "closed", err)
	default:
		refuse(w, http.StatusInternalServerError, "failed", err)
	}
}

// read decodes a body, which may be empty. When it can't, it has refused.
func read(w http.ResponseWriter, r *http.Request, to any) bool {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyMax))
	body.DisallowUnknownFields()
	err := body.Decode(to)
	if err == nil || errors.Is(err, io.EOF) {
		return true
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		refuse(w, http.StatusRequestEntityTooLarge, "too_large", fmt.Errorf("body is over %d bytes", bodyMax))
	} else {
		refuse(w, http.StatusBadRequest, "bad_request", fmt.Errorf("read body: %w", err))
	}
	return false
}

// logs answers the last n lines of the node's output, and with follow=true
// whatever comes after them.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	n := 1 << 30
	if q := r.URL.Query().Get("n"); q != "" {
		var err error
		if n, err = strconv.Atoi(q); err != nil || n < 0 {
			refuse(w, http.StatusBadRequest, "bad_request", fmt.Errorf("n=%q is no whole number from 0 up", q))
			return
		}
	}
	tail := s.cfg.Supervisor.Tail()
	text, next := tail.Lines(n)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(text)
	if r.URL.Query().Get("follow") != "true" {
		return
	}
	for {
		_ = http.NewResponseController(w).Flush()
		var changed <-chan struct{}
		if text, next, changed = tail.From(next); len(text) > 0 {
			if _, err := w.Write(text); err != nil {
				return
			}
			continue
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-s.cfg.Supervisor.Closed():
			return
		}
	}
}

// Refusal is the body of every answer that is not a success.
type Refusal struct {
	Error string `json:"error"`
	Code  string `json:"code"`
}

func refuse(w http.ResponseWriter, status int, code string, err error) {
	answer(w, status, Refusal{Error: err.Error(), Code: code})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
