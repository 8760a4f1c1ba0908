package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// senders is how many connections a volley has.
const senders = 16

// volley sends rate requests a second for as long as window, evenly over kept
// connections, and returns how long each took in milliseconds, sorted. A time
// counts from when the request was due: what waits behind a slow answer is slow
// too.
func volley(ctx context.Context, address, path string, rate int, window time.Duration) ([]float64, error) {
	var mu sync.Mutex
	var all []float64
	var errs []error
	var wg sync.WaitGroup
	began, gap := time.Now().Add(50*time.Millisecond), senders*time.Second/time.Duration(rate)
	for n := range senders {
		wg.Go(func() {
			mine, err := salvo(ctx, address, path, began.Add(time.Duration(n)*gap/senders), began.Add(window), gap)
			mu.Lock()
			defer mu.Unlock()
			all, errs = append(all, mine...), append(errs, err)
		})
	}
	wg.Wait()
	slices.Sort(all)
	return all, errors.Join(errs...)
}

// salvo is one connection's part. It speaks HTTP by itself: a client that costs
// more than the server would measure itself.
func salvo(ctx context.Context, address, path string, due, end time.Time, gap time.Duration) ([]float64, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(end.Add(patience)); err != nil {
		return nil, err
	}
	answers := bufio.NewReader(conn)
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n", path)
	var times []float64
	for ; due.Before(end); due = due.Add(gap) {
		if err := rest(ctx, time.Until(due)); err != nil {
			return times, err
		}
		if _, err := conn.Write(request); err != nil {
			return times, err
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			return times, err
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return times, err
		}
		times = append(times, float64(time.Since(due))/1e6)
		if resp.StatusCode != http.StatusOK {
			return times, fmt.Errorf("%s: %s", path, resp.Status)
		}
	}
	return times, nil
}
