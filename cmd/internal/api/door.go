package api

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/probe"
)

// DoorConfig says who may come in over TCP.
type DoorConfig struct {
	TokenFile         string
	CertFile, KeyFile string // both or none
	Origins           []string
	Logger            log.Logger
}

// Door lets those in who hold the token.
type Door struct {
	token    token
	cert     *certificate // nil: no TLS
	origins  atomic.Pointer[[]string]
	failures *failures
	logger   log.Logger
}

// NewDoor returns a Door. It fails when its files are not fit for it.
func NewDoor(cfg DoorConfig) (*Door, error) {
	d := &Door{token: token{file: cfg.TokenFile}, failures: newFailures(time.Now), logger: cfg.Logger}
	if cfg.CertFile != "" {
		d.cert = &certificate{certFile: cfg.CertFile, keyFile: cfg.KeyFile, logger: cfg.Logger}
	}
	return d, d.Reload(cfg.Origins)
}

// Reload reads the token and the certificate again and takes new origins. On an
// error everything stays as it was.
func (d *Door) Reload(origins []string) error {
	sum, err := readToken(d.token.file)
	if err != nil {
		return err
	}
	if d.cert != nil {
		if err := d.cert.load(); err != nil {
			return err
		}
	}
	d.token.sum.Store(&sum)
	d.origins.Store(&origins)
	return nil
}

// guard bounds the guests, and speaks TLS where there is a certificate.
//
// When the house is full, the one who came first and has shown no token yet has
// to leave: whoever fills it must not keep those out who hold the token.
func (d *Door) guard(ln net.Listener) net.Listener {
	ln = probe.NewParlour(ln, guestsMax)
	if d.cert == nil {
		return ln
	}
	return tls.NewListener(ln, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: d.cert.get})
}

// admit decides about one request. It is over when the door has answered it.
func (d *Door) admit(w http.ResponseWriter, r *http.Request) (over bool, err error) {
	for key := range r.URL.Query() {
		switch strings.ToLower(key) {
		case "token", "access_token", "auth", "authorization", "api_key", "apikey", "bearer":
			return false, malformed("the token does not belong into the URL, where proxies log it: send the header Authorization: Bearer")
		}
	}
	origin := r.Header.Get("Origin")
	listed := origin != "" && slices.Contains(*d.origins.Load(), origin)
	w.Header().Add("Vary", "Origin")
	if listed {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Id")
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent) // a browser sends no token with this question
			return true, nil
		}
	}
	if err := d.identify(w, r); err != nil {
		return false, err
	}
	if origin != "" && !listed && r.Header.Get("Upgrade") != "" && !same(origin, r.Host) {
		return false, fault{http.StatusForbidden, "origin", fmt.Errorf("origin %.100q is not listed in api-origins", origin)}
	}
	if g := guestOf(r); g != nil {
		g.Stay()
	}
	return false, nil
}

// identify checks the token.
func (d *Door) identify(w http.ResponseWriter, r *http.Request) error {
	given := r.Header.Values("Authorization")
	if len(given) == 0 { // nothing was guessed
		w.Header().Set("WWW-Authenticate", `Bearer realm="wemixvisor"`)
		return fault{http.StatusUnauthorized, "unauthorized", errors.New("no token: send the header Authorization: Bearer")}
	}
	// The right token passes whatever others of its address have tried: behind a
	// proxy all of them share one, and nobody may lock the owner out.
	scheme, text, _ := strings.Cut(given[0], " ")
	if len(given) == 1 && strings.EqualFold(scheme, "Bearer") && d.token.is(strings.TrimSpace(text)) {
		return nil
	}
	peer := peerOf(r)
	may, last := d.failures.add(peer)
	if last {
		level.Warn(d.logger).Log("msg", "many wrong tokens from one address; it is refused more of them", "peer", peer)
	}
	if !may {
		w.Header().Set("Retry-After", "1")
		w.Header().Set("Connection", "close") // the next one costs a connection, too
		return fault{http.StatusTooManyRequests, "too_many_failures", errors.New("too many wrong tokens from this address; wait a second")}
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="wemixvisor", error="invalid_token"`)
	return fault{http.StatusUnauthorized, "unauthorized", errors.New("wrong token")}
}

// peerOf is the address a failure is counted for. One IPv6 customer has a whole
// /64 to call from.
func peerOf(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

// guestOf is the connection as the parlour knows it.
func guestOf(r *http.Request) interface{ Stay() } {
	conn := r.Context().Value(connKey{})
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	g, _ := conn.(interface{ Stay() })
	return g
}

func same(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, host)
}

// ParseOrigins reads a list of origins as a browser sends them, divided by
// commas.
func ParseOrigins(text string) ([]string, error) {
	var origins []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		u, err := url.Parse(part)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != part {
			return nil, fmt.Errorf("%q is no origin such as https://dashboard.example", part)
		}
		origins = append(origins, part)
	}
	return origins, nil
}
