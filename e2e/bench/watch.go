package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// watch is how much of everything the measuring of probes has.
type watch struct {
	settle  time.Duration // until the start is over
	steady  time.Duration // over which CPU time is counted
	blocks  int           // of which it is measured when they are seen
	scrapes int
	rate    int // probes a second
	volley  time.Duration
}

var fullWatch = watch{settle: 5 * time.Second, steady: 30 * time.Second, blocks: 15, scrapes: 500, rate: 10_000, volley: 10 * time.Second}

// The columns: how the supervisor follows its node.
const (
	polling      = "polling"
	subscription = "subscription"
)

// watchTable is what came out of it.
type watchTable struct {
	cpu, rss, scrape, polled, told, p50, p99, cost, asked, quiet *row
}

func newWatchTable() *watchTable {
	return &watchTable{
		cpu:    newRow("steady CPU with a 1-s chain, % of one core", 3).atMost(0.5, " %"),
		rss:    newRow("RSS in run mode, MB", 2).atMost(25, " MB"),
		scrape: newRow("scrape of /metrics, ms", 3).atMost(2, " ms"),
		polled: newRow("head seen after it exists, longest, ms", 1).of(slices.Max).atMost(1200, " ms"),
		told:   newRow("head seen after it exists, longest, ms", 1).of(slices.Max).atMost(50, " ms"),
		p50:    newRow("10,000 probes a second on one core, p50, ms", 3),
		p99:    newRow("10,000 probes a second on one core, p99, ms", 3).atMost(5, " ms"),
		cost:   newRow("CPU for that, % of one core", 1),
		asked:  newRow("the node's RPC requests during 10 s of that", 0),
		quiet:  newRow("the same without probes", 0),
	}
}

// cells returns the table, its head first.
func (t *watchTable) cells() [][]string {
	cells := [][]string{{"median", polling, subscription, "bar"}}
	for _, r := range []*row{t.cpu, t.rss, t.scrape, t.polled, t.told, t.p50, t.p99, t.cost, t.asked, t.quiet} {
		judged := polling
		if worst := r.value(subscription); !(worst <= r.value(polling)) && len(r.values[subscription]) > 0 {
			judged = subscription // the bar is for both
		}
		cells = append(cells, []string{r.name, r.cell(polling), r.cell(subscription), r.verdict(judged)})
	}
	return cells
}

// measure runs the supervisor over the node twice, as it polls and as it
// subscribes.
func (w watch) measure(ctx context.Context, supervisor, node string) (*watchTable, error) {
	t := newWatchTable()
	for _, column := range []string{polling, subscription} {
		fmt.Fprintf(os.Stderr, "bench: %s, for about %v\n", column, w.settle+w.steady+w.volley*2+time.Duration(w.blocks)*time.Second)
		if err := w.column(ctx, t, column, supervisor, node); err != nil {
			return nil, fmt.Errorf("%s: %w", column, err)
		}
	}
	return t, nil
}

func (w watch) column(ctx context.Context, t *watchTable, column, supervisor, node string) error {
	s, err := openStand(ctx, supervisor, node, map[string]string{polling: "http", subscription: "ws"}[column])
	if err != nil {
		return err
	}
	defer s.close()
	if err := rest(ctx, w.settle); err != nil {
		return err
	}

	// What costs nothing to measure comes first.
	before, err := busy(s.pid())
	if err != nil {
		return err
	}
	if err := rest(ctx, w.steady); err != nil {
		return err
	}
	after, err := busy(s.pid())
	if err != nil {
		return err
	}
	t.cpu.add(column, 100*float64(after-before)/float64(w.steady))

	heads, err := measureHeads(ctx, s, w.blocks)
	if err != nil {
		return err
	}
	seen := map[string]*row{polling: t.polled, subscription: t.told}[column]
	for _, h := range heads {
		seen.add(column, h)
	}
	for range w.scrapes {
		began := time.Now()
		if _, _, err := s.get("/metrics"); err != nil {
			return err
		}
		t.scrape.addMillis(column, time.Since(began))
	}
	if err := w.storm(ctx, t, column, s); err != nil {
		return err
	}
	memory, err := rss(s.pid()) // after all of that: it must not have grown by it
	if err != nil {
		return err
	}
	t.rss.add(column, memory)
	return nil
}

// storm sends the volley, and counts what reaches the node with it and without.
func (w watch) storm(ctx context.Context, t *watchTable, column string, s *stand) error {
	count := func(during func() error) (float64, error) {
		before, err := s.asked()
		if err != nil {
			return 0, err
		}
		if err := during(); err != nil {
			return 0, err
		}
		after, err := s.asked()
		return after - before, err
	}
	quiet, err := count(func() error { return rest(ctx, w.volley) })
	if err != nil {
		return err
	}
	if err := s.pin(0); err != nil {
		return err
	}
	var times []float64
	before, err := busy(s.pid())
	if err != nil {
		return err
	}
	asked, err := count(func() (err error) {
		times, err = volley(ctx, s.probes, "/readyz", w.rate, w.volley)
		return err
	})
	if err == nil && len(times) == 0 {
		err = errors.New("no probe was answered")
	}
	if err != nil {
		return err
	}
	after, err := busy(s.pid())
	if err != nil {
		return err
	}
	t.cost.add(column, 100*float64(after-before)/float64(w.volley))
	t.quiet.add(column, quiet)
	t.asked.add(column, asked)
	t.p50.add(column, percentile(times, 50))
	t.p99.add(column, percentile(times, 99))
	return nil
}

// busy returns the CPU time of all threads of pid, by the scheduler's own
// count: that of stat(5) goes by ticks, and ours runs between them.
func busy(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err == nil && len(files) == 0 {
		err = errors.New("no thread of it can be read")
	}
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	sum := time.Duration(0)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		first, _, _ := strings.Cut(string(b), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}
