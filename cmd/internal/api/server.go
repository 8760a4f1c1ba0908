package api

import (
	"context"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"time"

	"github.com/go-kit/log"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/probe/chain"
	"github.com/wemix/wemixvisor/upgrade"
	"github.com/wemix/wemixvisor/upgrade/governance"
)

// Config is what a Server answers from.
type Config struct {
	Supervisor *supervisor.Supervisor
	Status     func() Status
	Health     func() probe.Health
	Alerts     func() []alert.Alert
	TestAlert  func(ctx context.Context, url string) ([]alert.Trial, error) // an empty URL: all that are set
	Metrics    func() any                                                   // what /metrics says, for JSON
	Governance func() governance.Status
	Settings   func() []Setting
	Reload     func() (Reloaded, error)
	Consensus  func() (c chain.Consensus, version string) // and the node's own version
	Gate       func(context.Context) error                // returns when a planned stop may be; nil: at once
	Forced     func()                                     // called before a stop that does not wait for that; optional
	Upgrades   *upgrade.Upgrader
	Home       upgrade.Home
	Backups    *upgrade.Backups // nil: there are none
	Hub        *Hub
	LogFile    string // where the node's output is kept too; empty: nowhere
	Version    Version
	Detached   bool   // the command start launched us: stop ends us too
	Quit       func() // ends the supervisor
	Logger     log.Logger
}

// Version is what the program says of itself.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// bodyMax is the largest request body that is read.
const bodyMax = 1 << 20

// headerMax bounds the header of a request; a token is short, and so are ours.
const headerMax = 16 << 10

// guestsMax bounds the connections over TCP: each costs goroutines and buffers.
const guestsMax = 2048

// usual is how long a client may take for each part of its request.
var usual = struct{ header, read, write, idle, shutdown time.Duration }{
	header:   5 * time.Second,
	read:     30 * time.Second, // a megabyte over a bad line
	write:    30 * time.Second,
	idle:     2 * time.Minute,
	shutdown: time.Second,
}

// Server answers the API.
type Server struct {
	cfg Config
	mux *http.ServeMux

	testing  chan struct{} // holds one test alert
	stopping chan struct{} // holds one stop that waits at the gate
}

// NewServer returns a Server. Don't forget to Serve.
func NewServer(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = log.NewNopLogger()
	}
	s := &Server{cfg: cfg, mux: http.NewServeMux(), testing: make(chan struct{}, 1), stopping: make(chan struct{}, 1)}
	for _, route := range s.routes() {
		s.mux.HandleFunc(route.Method+" "+base+route.Path, func(w http.ResponseWriter, r *http.Request) {
			if err := route.do(w, r); err != nil {
				refuse(w, err)
			}
		})
	}
	return s
}

// Serve answers on ln until ctx is done and closed is closed: status must
// answer while the node takes its grace. Who comes through door needs a token;
// without a door, who could open the socket may use it.
func (s *Server) Serve(ctx context.Context, ln net.Listener, door *Door, closed <-chan struct{}) error {
	srv := &http.Server{
		Handler:           s.front(door),
		ReadHeaderTimeout: usual.header,
		ReadTimeout:       usual.read,
		WriteTimeout:      usual.write,
		IdleTimeout:       usual.idle,
		MaxHeaderBytes:    headerMax,
		ConnContext:       withConn,
		ErrorLog:          stdlog.New(io.Discard, "", 0), // whoever reaches the port must not write our log
	}
	if door != nil {
		ln = door.guard(ln)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }() // ends with Shutdown or Close
	select {
	case err := <-done:
		return fmt.Errorf("serve API: %w", err)
	case <-ctx.Done():
	}
	<-closed
	// The answer to the stop that ended us is still on its way.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), usual.shutdown)
	defer cancel()
	if srv.Shutdown(last) != nil {
		_ = srv.Close() // somebody follows the log
	}
	<-done
	return ctx.Err()
}
