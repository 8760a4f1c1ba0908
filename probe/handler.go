package probe

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Handler answers /livez, /readyz, /startupz, /healthz and /metrics, the last
// with what metrics writes. Nothing here reaches the node.
func (p *Prober) Handler(metrics func(io.Writer)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer func()
		switch r.URL.Path {
		case "/livez":
			answer = func() { p.write(w, r, p.Live()) }
		case "/readyz":
			answer = func() { p.write(w, r, p.Ready()) }
		case "/startupz":
			answer = func() { p.write(w, r, p.Startup()) }
		case "/healthz":
			answer = func() { writeJSON(w, p.Health()) }
		case "/metrics":
			answer = func() {
				w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
				if metrics != nil && r.Method != http.MethodHead {
					metrics(w)
				}
			}
		default:
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "read only", http.StatusMethodNotAllowed)
			return
		}
		answer()
	})
}

// write answers a probe: ok, or what fails; all checks when asked to be verbose.
func (p *Prober) write(w http.ResponseWriter, r *http.Request, v Verdict) {
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		h := Health{Healthy: v.OK, Timestamp: p.cfg.Now().UTC(), Checks: make(map[string]Check, len(v.Checks))}
		for _, c := range v.Checks {
			h.Checks[c.Name] = c
		}
		writeJSON(w, h)
		return
	}
	verbose := r.URL.RawQuery != "" && r.URL.Query().Has("verbose")
	var body strings.Builder
	for _, c := range v.Checks {
		if verbose || !c.Healthy {
			body.WriteString(c.line())
		}
	}
	if v.OK {
		body.WriteString("ok")
		if verbose {
			body.WriteByte('\n') // it is read on a terminal
		}
	}
	send(w, v.OK, "text/plain; charset=utf-8", body.String())
}

func writeJSON(w http.ResponseWriter, h Health) {
	h.Timestamp = h.Timestamp.Truncate(time.Millisecond)
	body, err := json.Marshal(h)
	if err != nil { // strings and booleans always marshal
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	send(w, h.Healthy, "application/json", string(body)+"\n")
}

func send(w http.ResponseWriter, ok bool, kind, body string) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	io.WriteString(w, body) //nolint:errcheck // the client's loss
}
