package alert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	exchangeMax = 20 * time.Second // for one request and its answer
	bodyMax     = 256 << 10
	waitMax     = 10 * time.Minute // of what a Retry-After may ask for
)

// tamed is what http.DefaultClient sends through once tame was called.
var tamed = &transport{base: http.DefaultTransport, until: make(map[string]time.Time), failed: make(map[string]error)}

// tame bounds what the library does through http.DefaultClient: it sets neither
// a deadline nor a limit to what it reads. Those of its services that bring a
// client of their own bring a timeout with it. Nothing of ours uses the default
// client beside them.
var tame = sync.OnceFunc(func() {
	http.DefaultClient.Transport = tamed
})

// transport ends every exchange in time and does what a Retry-After says: the
// library would pass the status on and forget the header, so until then the
// host is not asked at all.
type transport struct {
	base http.RoundTripper

	mu     sync.Mutex
	until  map[string]time.Time // by host; few, since they come from settings
	failed map[string]error     // by URL, of telegram: see outcome
}

// telegramHost is where its service asks, whatever the settings say.
const telegramHost = "api.telegram.org"

// outcome returns why the last request to this URL of telegram's failed, nil
// when it did not: the library takes whatever it can't read there for success,
// an unreachable network included.
func (t *transport) outcome(url string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed[url]
}

// RoundTrip sends one request.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.exchange(req)
	if req.URL.Host == telegramHost {
		why := err
		if err == nil && resp.StatusCode != http.StatusOK {
			why = errors.New(resp.Status)
		}
		t.mu.Lock()
		t.failed[req.URL.String()] = why
		t.mu.Unlock()
	}
	return resp, err
}

func (t *transport) exchange(req *http.Request) (*http.Response, error) {
	t.mu.Lock()
	until := t.until[req.URL.Host]
	t.mu.Unlock()
	if wait := time.Until(until); wait > 0 {
		return nil, fmt.Errorf("asked to wait for another %s", wait.Round(time.Second))
	}
	ctx, cancel := context.WithTimeout(req.Context(), exchangeMax)
	resp, err := t.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		if wait := retryAfter(resp.Header.Get("Retry-After"), time.Now()); wait > 0 {
			t.mu.Lock()
			t.until[req.URL.Host] = time.Now().Add(wait)
			t.mu.Unlock()
		}
	}
	resp.Body = &body{io.LimitReader(resp.Body, bodyMax), resp.Body, cancel}
	return resp, nil
}

// body is the beginning of an answer, and ends its deadline when it is closed.
type body struct {
	io.Reader
	whole  io.Closer
	cancel context.CancelFunc
}

func (b *body) Close() error {
	defer b.cancel()
	return b.whole.Close()
}

// retryAfter reads the header, seconds or a date, RFC 9110, 10.2.3.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(header); err == nil {
		return time.Duration(min(max(seconds, 0), int(waitMax/time.Second))) * time.Second
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), waitMax)
}
