package chain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// maxAnswer bounds what one answer may take in memory. The largest honest one
// is a full block of 105M gas listed by transaction hash, well below 1 MiB.
const maxAnswer = 4 << 20

var errTooLarge = fmt.Errorf("answer larger than %d MiB", maxAnswer>>20)

// boundedTransport lets no response body grow beyond maxAnswer. The rpc library
// reads bodies of error pages whole, so the bound must lie below it.
type boundedTransport struct{ next http.RoundTripper }

func (t boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		resp.Body = &boundedBody{body: resp.Body, left: maxAnswer}
	} else { // a page for people: its first lines will do, and no error for the rest
		resp.Body = &struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, 4<<10), resp.Body}
	}
	return resp, nil
}

type boundedBody struct {
	body io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	if len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.body.Read(p)
	b.left -= n
	return n, err
}

func (b *boundedBody) Close() error { return b.body.Close() }

// boundedConn is a stream of answers (IPC, WebSocket) that breaks when more
// than maxAnswer bytes arrive without a whole answer among them.
type boundedConn struct {
	net.Conn
	left atomic.Int64
}

func newBoundedConn(conn net.Conn) *boundedConn {
	c := &boundedConn{Conn: conn}
	c.whole()
	return c
}

// whole notes that an answer was received whole.
func (c *boundedConn) whole() { c.left.Store(maxAnswer) }

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left.Load() <= 0 {
		return 0, errTooLarge
	}
	n, err := c.Conn.Read(p)
	c.left.Add(-int64(n))
	return n, err
}

// Write sets its own deadline: over IPC the rpc library can't, and a stopped
// node whose socket buffer is full would hold the caller forever.
func (c *boundedConn) Write(p []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// dialSocket connects to a Unix socket, also where its path is longer than the
// kernel's 108 bytes.
func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	if len(path) < 108 {
		return d.DialContext(ctx, "unix", path)
	}
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", filepath.Dir(path), err)
	}
	defer unix.Close(dir)
	return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path)))
}

// newHTTPClient returns one that follows nobody elsewhere: no redirect, no
// proxy, no compressed body that is small on the wire only.
func newHTTPClient() *http.Client {
	return &http.Client{
		Transport: boundedTransport{&http.Transport{
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
			MaxConnsPerHost:        4,
			MaxIdleConns:           2,
			IdleConnTimeout:        time.Minute,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("redirected elsewhere")
		},
	}
}

// CloseIdleConnections makes http.Client's method of that name reach through.
func (t boundedTransport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
