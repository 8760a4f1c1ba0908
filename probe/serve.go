package probe

import (
	"context"
	"io"
	"net"
	"net/http"
)

// Handler answers /livez, /readyz, /startupz, /healthz and /metrics.
func (p *Prober) Handler(metrics func(io.Writer)) http.Handler {
	return http.NotFoundHandler()
}

// Serve answers on ln until ctx is done and then until closed is closed: a
// supervisor that is still stopping its node must be able to say so.
func Serve(ctx context.Context, ln net.Listener, handler http.Handler, closed <-chan struct{}) error {
	return nil
}
