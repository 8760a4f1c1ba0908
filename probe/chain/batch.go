package chain

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/go-kit/log/level"
)

// silenceError is a question that got no answer at all.
type silenceError struct{ err error }

func (e *silenceError) Error() string { return e.err.Error() }
func (e *silenceError) Unwrap() error { return e.err }

type rawAnswer = json.RawMessage

// batch is some of the watcher's questions in one message. Each answer is taken
// by its own function, so that a node may refuse one and answer the rest.
type batch struct {
	w     *watcher
	reqs  []Request
	taken []func()
	err   error // what the first question was answered that was not
}

func (w *watcher) batch() *batch { return &batch{w: w} }

// add asks for one thing, unless this process refused it before.
func (b *batch) add(method string, result any, take func(), args ...any) {
	if b.w.refused[method] {
		return
	}
	b.reqs = append(b.reqs, Request{Method: method, Args: args, Result: result})
	b.taken = append(b.taken, take)
}

// send asks. An error means that nothing was answered.
func (b *batch) send(ctx context.Context) error {
	if len(b.reqs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.w.cfg.Timeout)
	defer cancel()
	if err := b.w.client.Batch(ctx, b.reqs); err != nil {
		return &silenceError{err}
	}
	for i, r := range b.reqs {
		switch {
		case r.Err == nil:
			b.taken[i]()
		case errors.Is(r.Err, ErrNoMethod):
			b.w.refuse(r.Method)
		case b.err == nil:
			b.err = r.Err
		}
	}
	return nil
}

// errOf returns what the node answered to a method instead of a result.
func (b *batch) errOf(method string) error {
	for _, r := range b.reqs {
		if r.Method == method && r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// refuse switches a method off for this process.
func (w *watcher) refuse(method string) {
	if w.refused[method] {
		return
	}
	w.refused[method] = true
	if method != "eth_getHeaderByNumber" && method != "admin_wemixNodes" { // the follower asks these too, and says so
		level.Info(w.cfg.Logger).Log("msg", "node does not offer a method; going without", "method", method, "address", w.address)
	}
}
