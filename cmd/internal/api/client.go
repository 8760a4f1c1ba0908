package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
)

// ErrNotRunning says that no supervisor listens on the control socket.
var ErrNotRunning = errors.New("no supervisor is running")

// Client asks a running supervisor. It sets no time limit of its own: a stop
// takes as long as the node's grace.
type Client struct {
	path string
	http *http.Client
}

// NewClient returns a Client of the control socket at path.
func NewClient(path string) *Client {
	return &Client{path: path, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return Dial(ctx, path) },
	}}}
}

// Get reads what route answers into to.
func (c *Client) Get(ctx context.Context, route string, to any) error {
	return c.call(ctx, http.MethodGet, route, nil, to)
}

// Act does what route does, with a, and returns the result.
func (c *Client) Act(ctx context.Context, route string, a Action) (Result, error) {
	var res Result
	return res, c.Post(ctx, route, a, &res)
}

// Post does what route does, with body, and reads the answer into to.
func (c *Client) Post(ctx context.Context, route string, body, to any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, route, bytes.NewReader(text), to)
}

// Logs copies the last n lines of the node's output to w, and all that follow;
// with n < 0 all that memory holds.
func (c *Client) Logs(ctx context.Context, w io.Writer, n int, follow bool) error {
	q := url.Values{"follow": {strconv.FormatBool(follow)}}
	if n >= 0 {
		q.Set("n", strconv.Itoa(n))
	}
	return c.Copy(ctx, w, "logs?"+q.Encode())
}

// Copy copies what route answers to w.
func (c *Client) Copy(ctx context.Context, w io.Writer, route string) error {
	resp, err := c.do(ctx, http.MethodGet, route, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("read answer of %s: %w", route, err)
	}
	return nil
}

func (c *Client) call(ctx context.Context, method, route string, body io.Reader, to any) error {
	resp, err := c.do(ctx, method, route, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(to); err != nil {
		return fmt.Errorf("read answer of %s: %w", route, err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, route string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://wemixvisor"+base+route, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w on %s", ErrNotRunning, c.path)
	case err != nil:
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // its text repeats the made-up host
		}
		return nil, fmt.Errorf("ask supervisor: %w", err)
	case resp.StatusCode < 300:
		return resp, nil
	}
	defer resp.Body.Close()
	var no Refusal
	if err := json.NewDecoder(io.LimitReader(resp.Body, bodyMax)).Decode(&no); err != nil {
		return nil, fmt.Errorf("ask supervisor: %s", resp.Status)
	}
	return nil, errorOf(no)
}
