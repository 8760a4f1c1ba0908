package api

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// front is what every request passes: it gets its id, is let in or not, finds
// its route, and is logged.
func (s *Server) front(door *Door) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, id := time.Now(), requestID(r)
		w.Header().Set("X-Request-Id", id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		rec := &recorder{ResponseWriter: w}
		logger := log.With(s.cfg.Logger, "request_id", id, "method", r.Method, "path", shortened(r.URL.Path), "peer", r.RemoteAddr)
		defer func() {
			if p := recover(); p != nil {
				level.Error(logger).Log("msg", "request failed: a mistake of ours", "panic", fmt.Sprint(p), "stack", debug.Stack())
				if rec.status != 0 {
					panic(http.ErrAbortHandler) // half an answer must not look like a whole one
				}
				refuse(rec, errors.New("a mistake of ours; see the log for this request's id"))
			}
		}()
		err := clean(r.URL)
		over := false
		if err == nil && door != nil {
			over, err = door.admit(rec, r)
		}
		switch {
		case err != nil:
			refuse(rec, err)
		case !over:
			s.dispatch(rec, r.WithContext(context.WithValue(r.Context(), remoteKey{}, door != nil)))
		}
		line := level.Debug
		if r.Method == post || r.Method == http.MethodDelete || rec.status >= 500 {
			line = level.Info
		}
		if rec.status == http.StatusUnauthorized || rec.status == http.StatusTooManyRequests {
			line = level.Debug // the door has said it, and whoever knocks must not fill the log
		}
		line(logger).Log("msg", "request", "status", rec.status, "took", time.Since(began).Round(time.Microsecond))
	})
}

// dispatch routes a request; one without a route is refused like any other.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	if _, pattern := s.mux.Handler(r); pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	no := unrouted{header: w.Header()}
	s.mux.ServeHTTP(&no, r) // it tells a wrong verb from a wrong path, and says what is allowed
	w.Header().Del("Content-Length")
	if no.status == http.StatusMethodNotAllowed {
		refuse(w, fault{no.status, "method_not_allowed", fmt.Errorf("%s is not for %s; allowed: %s", r.Method, r.URL.Path, w.Header().Get("Allow"))})
		return
	}
	refuse(w, missing("no such route: %s %s", r.Method, shortened(r.URL.Path)))
}

// unrouted keeps the status of an answer and drops its text.
type unrouted struct {
	header http.Header
	status int
}

func (u *unrouted) Header() http.Header         { return u.header }
func (u *unrouted) WriteHeader(status int)      { u.status = status }
func (u *unrouted) Write(p []byte) (int, error) { return len(p), nil }

// clean refuses paths that mean another one to somebody: names in a path become
// names of files, and the mux would redirect instead of refusing.
func clean(u *url.URL) error {
	raw := strings.ToLower(u.EscapedPath())
	for _, trick := range []string{"%2f", "%5c", "%2e", "\\"} {
		if strings.Contains(raw, trick) {
			return malformed("path holds %s", trick)
		}
	}
	if strings.ContainsFunc(u.Path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return malformed("path holds a control character")
	}
	if p := strings.TrimSuffix(u.Path, "/"); p != "" && path.Clean(p) != p {
		return malformed("path is not plain: it holds //, . or ..")
	}
	return nil
}

// requestID returns the client's own id where it is harmless, else a fresh one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	strange := strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
	if id != "" && len(id) <= 64 && !strange {
		return id
	}
	b := make([]byte, 8)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

func shortened(path string) string {
	if len(path) > 200 {
		return path[:200] + "…"
	}
	return path
}

// remoteKey holds whether a request came through a door.
type remoteKey struct{}

func remote(r *http.Request) bool {
	yes, _ := r.Context().Value(remoteKey{}).(bool)
	return yes
}

// connKey holds the connection of a request.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// recorder remembers the status for the log.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Hijack is for the upgrade to WebSocket.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	r.status = http.StatusSwitchingProtocols
	return http.NewResponseController(r.ResponseWriter).Hijack()
}
