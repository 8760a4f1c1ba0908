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

	supervisor "github.com/wemix/wemixvisor/init"
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
	err := c.Post(ctx, route, a, &res)
	return res, err
}

// Post sends what to route and reads its answer into to.
func (c *Client) Post(ctx context.Context, route string, what, to any) error {
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, route, bytes.NewReader(body), to)
}

// Logs copies the last n lines of the node's output to w, and all that follow.
func (c *Client) Logs(ctx context.Context, w io.Writer, n int, follow bool) error {
	q := url.Values{"n": {strconv.Itoa(n)}, "follow": {strconv.FormatBool(follow)}}
	resp, err := c.do(ctx, http.MethodGet, "logs?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("read log: %w", err)
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
	req, err := http.NewRequestWithContext(ctx, method, "http://wemixvisor/api/v1/"+route, body)
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
	switch no.Code {
	case "busy":
		return nil, supervisor.ErrBusy
	case "running":
		return nil, supervisor.ErrRunning
	case "closed":
		return nil, supervisor.ErrClosed
	}
	return nil, errors.New(no.Error)
}
