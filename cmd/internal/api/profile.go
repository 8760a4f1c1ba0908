package api

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"time"
)

const (
	profileLongest = 5 * time.Minute
	profileMax     = 16 << 20 // bytes: we live beside a node that wants all the memory
)

// profile takes one of ourselves. It is gathered in memory first: the runtime
// must not wait for a client that reads slowly.
func (s *Server) profile(w http.ResponseWriter, r *http.Request) error {
	kind := r.PathValue("kind")
	took := map[string]time.Duration{"cpu": 10 * time.Second, "trace": time.Second, "heap": 0, "goroutine": 0}
	last, ok := took[kind]
	if !ok {
		return missing("no such profile: %q; there are cpu, heap, goroutine, trace", kind)
	}
	if q := r.URL.Query().Get("seconds"); q != "" {
		n, err := strconv.Atoi(q)
		if err != nil || n < 1 || n > int(profileLongest/time.Second) {
			return malformed("seconds=%q is no whole number from 1 to %d", q, int(profileLongest/time.Second))
		}
		last = time.Duration(n) * time.Second
	}
	out := &bounded{}
	relax(w)
	err := func() error {
		switch kind {
		case "cpu":
			if err := pprof.StartCPUProfile(out); err != nil {
				return fault{http.StatusConflict, "busy", err}
			}
			defer pprof.StopCPUProfile()
			return s.pass(r, last, nil)
		case "trace":
			out.full = make(chan struct{})
			if err := trace.Start(out); err != nil {
				return fault{http.StatusConflict, "busy", err}
			}
			defer trace.Stop()
			return s.pass(r, last, out.full)
		}
		return pprof.Lookup(kind).WriteTo(out, 0)
	}()
	hurry(w)
	if err != nil {
		return err
	}
	if out.lost {
		return fmt.Errorf("the profile is over %d bytes; ask for fewer seconds", profileMax)
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(out.Len()))
	_, _ = w.Write(out.Bytes())
	return nil
}

// pass waits until the time is over, or nobody wants the profile any more.
func (s *Server) pass(r *http.Request, last time.Duration, full <-chan struct{}) error {
	timer := time.NewTimer(last)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-full:
	case <-s.cfg.Supervisor.Closed():
	case <-r.Context().Done():
		return r.Context().Err()
	}
	return nil
}

// bounded is a buffer that stops growing. The runtime writes it from one
// goroutine, and we read it after that has ended.
type bounded struct {
	bytes.Buffer
	lost bool
	full chan struct{} // closes when something was lost; may be nil
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.lost || b.Len()+len(p) > profileMax {
		if !b.lost && b.full != nil {
			close(b.full)
		}
		b.lost = true
		return len(p), nil
	}
	return b.Buffer.Write(p)
}
