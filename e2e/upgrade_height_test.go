//go:build e2e

package e2e

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// relay is the way of a supervisor's questions to its node, which can be cut.
type relay struct {
	url string
	to  atomic.Pointer[url.URL]
	cut atomic.Bool
}

func openRelay(t *testing.T) *relay {
	t.Helper()
	ln := gateway(t)
	r := &relay{url: "http://" + ln.Addr().String()}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(r.to.Load()) }}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if r.cut.Load() || r.to.Load() == nil {
			panic(http.ErrAbortHandler) // no answer at all
		}
		proxy.ServeHTTP(w, q)
	})}
	go srv.Serve(ln) // ends with Close
	t.Cleanup(func() { srv.Close() })
	return r
}

// A head that nobody has told triggers nothing, and the first that is told past
// the height does, however many were missed.
func TestHeightThatPassesWhileRPCIsSilent(t *testing.T) {
	t.Parallel()
	r := openRelay(t)
	b := launch(t, several, develop, holding("old", "DAEMON_RPC_ADDRESS="+r.url))
	node := &url.URL{Scheme: "http", Host: b.address() + ":8545"}
	r.to.Store(node)
	b.ready()
	pid := b.node()
	r.cut.Store(true)
	at := b.head() + 5 // none of these is told
	b.schedule("v1.16.9", at, "new")
	b.until("blocks past the height", 30*time.Second, func() bool {
		head, err := strconv.ParseUint(blockNumber(t.Context(), node.String()), 0, 64)
		return err == nil && head > at+2
	})
	if p := b.plans()["v1.16.9"]; p.Stage != "prepared" || b.node() != pid {
		t.Errorf("want it left alone, have %+v", p)
	}
	if head := b.head(); head >= at {
		t.Errorf("want no head told from %d on, have %d", at, head)
	}
	r.cut.Store(false)
	p := b.becomes("v1.16.9", "done")
	if p.Switch.Head <= at+2 || p.Switch.Late != p.Switch.Head-at {
		t.Errorf("want it late, and that said, have %+v", p.Switch)
	}
	b.runs("v1.16.9")
}
