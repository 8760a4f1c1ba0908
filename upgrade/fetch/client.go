package fetch

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// maxRedirects is net/http's own limit, which a CheckRedirect has to keep itself.
const maxRedirects = 10

// errRedirects ends a loop: asking again would go round again.
var errRedirects = errors.New("too many redirects")

// newClient returns a client that follows a redirect to where allowed says, and
// never from https to http.
func newClient(allowed func(*url.URL) error) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    15 * time.Second,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			MaxResponseHeaderBytes: 256 << 10,
			IdleConnTimeout:        30 * time.Second,
			DisableCompression:     true, // checksum, length and ranges are of the bytes as they are
		},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			next.Header.Del("Referer") // it would show a signed query to the next server
			last := via[len(via)-1].URL
			switch {
			case len(via) > maxRedirects:
				return fmt.Errorf("%w: %d, to %s", errRedirects, maxRedirects, redacted(next.URL))
			case next.URL.Scheme != "https" && next.URL.Scheme != "http":
				return fmt.Errorf("%w: redirect to scheme %q", ErrNotAllowed, next.URL.Scheme)
			case last.Scheme == "https" && next.URL.Scheme != "https":
				return fmt.Errorf("%w: redirect from https to %s", ErrNotAllowed, redacted(next.URL))
			}
			return allowed(next.URL)
		},
	}
}
