//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// soon asks twenty times a second until ok, and returns when that was.
func soon(t *testing.T, ok func(context.Context) bool) time.Time {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("not within a minute")
		}
	}
	return time.Now()
}

// answers reports whether url answers 200.
func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusOK
}

// blockNumber asks the node itself; empty when it does not answer.
func blockNumber(ctx context.Context, url string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber"}`))
	if err != nil {
		return ""
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var said struct {
		Result string `json:"result"`
	}
	_ = json.NewDecoder(resp.Body).Decode(&said)
	return said.Result
}

// value returns a metric's value out of an exposition; labels are part of the name.
func value(exposition, name string) (float64, bool) {
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(exposition)
	if m == nil {
		return 0, false
	}
	v, err := strconv.ParseFloat(m[1], 64)
	return v, err == nil
}

// volley sends rate requests a second for as long as window, spread evenly over
// kept connections, and returns how many were answered and how long each took,
// sorted. A time is counted from when the request was due: a slow answer that
// holds up the next ones is theirs too.
func volley(t *testing.T, url string, rate int, window time.Duration) (int, []time.Duration) {
	t.Helper()
	const senders = 16
	client := &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: senders},
		Timeout:   5 * time.Second,
	}
	defer client.CloseIdleConnections()
	began, gap := time.Now(), senders*time.Second/time.Duration(rate)
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			var mine []time.Duration
			for due := began.Add(time.Duration(s) * gap / senders); due.Before(began.Add(window)); due = due.Add(gap) {
				if time.Since(began) > window+time.Second {
					break // it can't keep up: what was not sent is not answered either
				}
				time.Sleep(time.Until(due)) // the pace is what is given
				resp, err := client.Get(url)
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				mine = append(mine, time.Since(due))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
		})
	}
	wg.Wait()
	slices.Sort(all)
	return len(all), all
}

// rank is the nearest-rank percentile of sorted times.
func rank(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(int(math.Ceil(p/100*float64(len(sorted)))), 1)-1].Round(10 * time.Microsecond)
}
