package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// actor makes a part of the group: an interrupt only cancels, draining belongs
// to the part.
func actor(ctx context.Context, f func(context.Context) error) (func() error, func(error)) {
	ctx, cancel := context.WithCancel(ctx)
	return func() error { return f(ctx) }, func(error) { cancel() }
}

// enduring keeps a part that fails from taking the node down with it.
func enduring(logger log.Logger, name string, f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			level.Error(logger).Log("msg", "part failed; the node runs on without it", "part", name, "err", err)
		}
		<-ctx.Done()
		return ctx.Err()
	}
}

// again opens a port that a supervisor who has just left the volume to us still
// held.
func again(ctx context.Context, setting, address string, listen func() (net.Listener, error)) (net.Listener, error) {
	deadline := time.Now().Add(2 * time.Second)
	for {
		ln, err := listen()
		if err == nil {
			return ln, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s %s: %w; free the port, choose another, or set it off", setting, address, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// loopback reports whether nobody but this machine reaches address.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
