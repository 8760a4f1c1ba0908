package api

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// logs answers the last n lines of the node's output, and with follow=true
// whatever comes after them. What memory does not hold any more comes from the
// log file.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) error {
	n, all := 0, true
	if q := r.URL.Query().Get("n"); q != "" {
		var err error
		if n, err = strconv.Atoi(q); err != nil || n < 0 {
			return malformed("n=%q is no whole number from 0 up", q)
		}
		all = false
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	relax(w)
	out := patient{w, remote(r)}
	next, err := s.last(out, n, all)
	if err != nil || r.URL.Query().Get("follow") != "true" {
		return nil // the client has left, or has what it wanted
	}
	tail := s.cfg.Supervisor.Tail()
	for {
		_ = http.NewResponseController(w).Flush()
		var text []byte
		var changed <-chan struct{}
		if text, next, changed = tail.From(next); len(text) > 0 {
			if _, err := out.Write(text); err != nil {
				return nil
			}
			continue
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return nil
		case <-s.cfg.Supervisor.Closed():
			return nil
		}
	}
}

// last writes the last n lines, or all that memory holds, and returns the
// tail's offset behind them.
func (s *Server) last(w io.Writer, n int, all bool) (next int64, err error) {
	tail := s.cfg.Supervisor.Tail()
	if all {
		n = 1 << 30
	}
	text, next := tail.Lines(n)
	if !all && s.cfg.LogFile != "" && bytes.Count(text, []byte("\n")) < n {
		var file *LogFile
		s.cfg.Supervisor.Still(func(offset int64) {
			if file, err = OpenLogFile(s.cfg.LogFile); err == nil {
				next = offset
			}
		})
		if err == nil {
			defer file.Close()
			return next, file.Lines(w, n)
		}
	}
	_, err = w.Write(text)
	return next, err
}

// patient writes to a client that may read slowly: over TCP each piece has its
// time, on the socket somebody may have paused a pager.
type patient struct {
	w      http.ResponseWriter
	remote bool
}

func (p patient) Write(b []byte) (int, error) {
	if p.remote {
		hurry(p.w)
	}
	return p.w.Write(b)
}
