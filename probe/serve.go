package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// maxGuests bounds the connections: each costs a goroutine and its buffers.
const maxGuests = 256

// patience is how long a client may take. Ours are a kubelet and a scraper:
// what takes longer is broken or means harm.
type patience struct{ header, read, write, idle, shutdown time.Duration }

var usual = patience{
	header:   5 * time.Second,
	read:     5 * time.Second,
	write:    10 * time.Second, // a scrape, over a bad line
	idle:     60 * time.Second, // above the usual scrape interval
	shutdown: 2 * time.Second,
}

// Serve answers on ln until ctx is done and closed is closed, which is the
// supervisor's end: as long as it is still stopping its node, probes must be
// able to say so. A nil closed is not waited for.
func Serve(ctx context.Context, ln net.Listener, handler http.Handler, closed <-chan struct{}) error {
	return serve(ctx, ln, handler, closed, usual)
}

func serve(ctx context.Context, ln net.Listener, handler http.Handler, closed <-chan struct{}, wait patience) error {
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: wait.header,
		ReadTimeout:       wait.read,
		WriteTimeout:      wait.write,
		IdleTimeout:       wait.idle,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // whoever reaches the port must not write our log
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(NewParlour(ln, maxGuests)) }() // received from below, on every path
	select {
	case err := <-served:
		return fmt.Errorf("serve probes: %w", err)
	case <-ctx.Done():
	}
	if closed != nil {
		select {
		case err := <-served:
			return fmt.Errorf("serve probes: %w", err)
		case <-closed:
		}
	}
	// The context of Run is done by now, so this one can't descend from it.
	grace, cancel := context.WithTimeout(context.Background(), wait.shutdown)
	defer cancel()
	err := srv.Shutdown(grace)
	if err != nil {
		err = srv.Close() // somebody is slow; they had their time
	}
	<-served
	return errors.Join(ctx.Err(), err)
}
