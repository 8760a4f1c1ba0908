package chain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/gorilla/websocket"
)

// ErrNoMethod is what a node answers that does not offer a method (-32601).
var ErrNoMethod = errors.New("method not offered")

// Client is a connection to a node's JSON-RPC. It dials at the first call and
// again after a lost connection; several goroutines may share it.
//
// A call without a deadline gets one of five seconds.
type Client struct {
	target target

	calls, errors atomic.Uint64

	mu   sync.Mutex // guards link
	link *link
}

// link is one connection. For HTTP it is only a pool and conn is nil.
type link struct {
	rpc  *rpc.Client
	http *http.Client
	conn *boundedConn
}

// Request is one call of a batch. Result is a pointer, as for json.Unmarshal.
type Request struct {
	Method string
	Args   []any
	Result any
	Err    error // set by Batch
}

// NewClient returns a Client of address: host:port, http(s)://, ws(s)://, or
// the path of an IPC socket. It dials nothing.
func NewClient(address string) (*Client, error) {
	t, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	return &Client{target: t}, nil
}

const callTimeout = 5 * time.Second

// Call asks for one thing. It returns ErrNoMethod where the node has no such method.
func (c *Client) Call(ctx context.Context, result any, method string, args ...any) error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	l, err := c.dial(ctx)
	if err != nil {
		return c.failed(ctx, nil, err)
	}
	c.calls.Add(1)
	err = l.rpc.CallContext(ctx, result, method, args...)
	if answered(err) {
		l.whole()
		return methodError(method, err)
	}
	return c.failed(ctx, l, fmt.Errorf("%s: %w", method, err))
}

// Batch asks for several things in one message. An error means that nothing
// was answered; what the node answered to each is in the request's Err.
func (c *Client) Batch(ctx context.Context, reqs []Request) error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	l, err := c.dial(ctx)
	if err != nil {
		return c.failed(ctx, nil, err)
	}
	elems := make([]rpc.BatchElem, len(reqs))
	for i, r := range reqs {
		elems[i] = rpc.BatchElem{Method: r.Method, Args: r.Args, Result: r.Result}
	}
	c.calls.Add(uint64(len(reqs)))
	if err := l.rpc.BatchCallContext(ctx, elems); err != nil {
		return c.failed(ctx, l, err)
	}
	silent := 0
	for i, e := range elems {
		reqs[i].Err = methodError(e.Method, e.Error)
		if errors.Is(e.Error, rpc.ErrMissingBatchResponse) {
			silent++
		}
	}
	if silent == len(reqs) {
		return c.failed(ctx, l, errors.New("answer to none of the questions"))
	}
	l.whole()
	return nil
}

// Streams reports whether the transport can carry subscriptions.
func (c *Client) Streams() bool { return c.target.via != viaHTTP }

// Counts returns how many calls were made and how many got no answer.
func (c *Client) Counts() (calls, errors uint64) { return c.calls.Load(), c.errors.Load() }

// Close drops the connection. A later call dials again.
func (c *Client) Close() {
	c.mu.Lock()
	l := c.link
	c.link = nil
	c.mu.Unlock()
	if l != nil {
		l.close()
	}
}

// subscribeHeads returns a channel of new heads and one that says the
// subscription is over.
func (c *Client) subscribeHeads(ctx context.Context) (<-chan header, <-chan error, error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	l, err := c.dial(ctx)
	if err != nil {
		return nil, nil, c.failed(ctx, nil, err)
	}
	c.calls.Add(1)
	heads := make(chan header, 16)
	sub, err := l.rpc.EthSubscribe(ctx, heads, "newHeads")
	switch {
	case err == nil:
		l.whole()
		return heads, sub.Err(), nil
	case answered(err), errors.Is(err, rpc.ErrNotificationsUnsupported):
		l.whole()
		return nil, nil, methodError("eth_subscribe", err)
	}
	return nil, nil, c.failed(ctx, l, fmt.Errorf("eth_subscribe: %w", err))
}

// heard notes that a notification arrived whole.
func (c *Client) heard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil {
		c.link.whole()
	}
}

// dial returns the connection, a new one if need be. The lock is held while it
// dials, so that many callers make one connection; the deadline bounds it.
func (c *Client) dial(ctx context.Context) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != nil {
		return c.link, nil
	}
	l := &link{}
	var err error
	switch c.target.via {
	case viaHTTP:
		l.http = newHTTPClient()
		l.rpc, err = rpc.DialOptions(ctx, c.target.url, rpc.WithHTTPClient(l.http))
	case viaWS:
		l.rpc, err = rpc.DialOptions(ctx, c.target.url,
			rpc.WithWebsocketMessageSizeLimit(maxAnswer),
			rpc.WithWebsocketDialer(websocket.Dialer{
				HandshakeTimeout: callTimeout,
				ReadBufferSize:   4 << 10,
				WriteBufferSize:  4 << 10,
				NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, addr)
					if err != nil {
						return nil, err
					}
					// The library may dial again by itself; by then this link is
					// closed or about to be, so only the first counts.
					b := newBoundedConn(conn)
					if l.conn == nil {
						l.conn = b
					}
					return b, nil
				},
			}))
	case viaIPC:
		var conn net.Conn
		if conn, err = dialSocket(ctx, c.target.url); err == nil {
			l.conn = newBoundedConn(conn)
			// Not rpc.DialIPC: it reads without a bound.
			l.rpc, err = rpc.DialIO(context.Background(), l.conn, l.conn)
		}
	}
	if err != nil {
		return nil, err
	}
	c.link = l
	return l, nil
}

// failed counts a call without an answer and gives up its connection: a stream
// may hang in the middle of an answer, and everything after it too. A caller
// who lost interest says nothing about the node.
func (c *Client) failed(ctx context.Context, l *link, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	c.errors.Add(1)
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // its text repeats the address, whose path may be a key, and probes show it to anybody
	}
	if l == nil || l.conn == nil {
		return err
	}
	c.mu.Lock()
	if c.link == l {
		c.link = nil
	}
	c.mu.Unlock()
	l.close()
	return err
}

func (l *link) whole() {
	if l.conn != nil {
		l.conn.whole()
	}
}

func (l *link) close() {
	if l.conn != nil {
		l.conn.Close() // first: the rpc client's Close waits for its reader
	}
	l.rpc.Close()
	if l.http != nil {
		l.http.CloseIdleConnections()
	}
}

// answered reports whether the node said something, be it that it won't.
func answered(err error) bool {
	var said rpc.Error
	return err == nil || errors.As(err, &said)
}

func methodError(method string, err error) error {
	if err == nil {
		return nil
	}
	var said rpc.Error
	if errors.As(err, &said) && said.ErrorCode() == -32601 || errors.Is(err, rpc.ErrNotificationsUnsupported) {
		return fmt.Errorf("%s: %w", method, ErrNoMethod)
	}
	return fmt.Errorf("%s: %w", method, err)
}

func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callTimeout)
}

// oneLine makes an error fit for a log line and a probe's answer: whatever the
// node wrote into it, it is short, printable and on one line.
func oneLine(err error) string {
	const limit = 160
	text := strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, clip(err.Error(), 16<<10))), " ")
	if r := []rune(text); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return text
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
