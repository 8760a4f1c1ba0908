package backup

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/e2e/chaindata"
)

// intervals are the times between the blocks of a node, as they arrive.
type intervals []time.Duration

// watch adds what arrives until ctx is done.
func (all *intervals) watch(ctx context.Context, t *testing.T, g *geth) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	last, at := "", time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		head, err := g.call("eth_blockNumber")
		if err != nil {
			t.Fatal(err)
		}
		if now := time.Now(); head != last {
			if last != "" && !at.IsZero() {
				*all = append(*all, now.Sub(at))
			}
			if last != "" { // the first was there before
				at = now
			}
			last = head
		}
	}
}

// rank is the nearest-rank percentile.
func (all intervals) rank(p float64) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(int(math.Ceil(p/100*float64(len(sorted)))), 1)-1]
}

// Blocks of a node under load, in turns with an archive being made beside it on the same
// disk and with nothing. What is archived is chain data of another making, as the node's
// own is soon done; WEMIXVISOR_BENCH_DATA names some to take instead.
func TestBarOfTheBlockInterval(t *testing.T) {
	bar(t)
	const turns, turn = 6, 25 * time.Second
	dir := t.TempDir()
	data := os.Getenv("WEMIXVISOR_BENCH_DATA")
	if data == "" {
		data = filepath.Join(dir, "chain")
		if _, err := chaindata.Make(data, chaindata.GB(1, 64<<20)); err != nil {
			t.Fatal(err)
		}
	}
	g := startLoaded(t, filepath.Join(dir, "node"), "pebble")
	g.waitFor(5)
	r := NewRepo(RepoConfig{Dir: filepath.Join(dir, "backups"), Floor: noFloor, NodeRuns: func() bool { return true }})
	var quiet, busy intervals
	archives, bytes := 0, int64(0)
	for range turns {
		for _, all := range []*intervals{&quiet, &busy} {
			cold(t)
			ctx, cancel := context.WithTimeout(context.Background(), turn)
			done := make(chan error, 1)
			go func() { // joined below
				if all == &quiet {
					done <- nil
					return
				}
				for ctx.Err() == nil {
					read := int64(0)
					info, err := r.Create(ctx, Source{Tree: Tree{Root: data}}, CreateOptions{OnProgress: func(p Progress) { read = p.Done }})
					bytes += read
					if ctx.Err() != nil {
						break
					}
					if err != nil {
						done <- err
						return
					}
					archives++
					if err := r.Remove(ctx, info.ID); err != nil && ctx.Err() == nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
			all.watch(ctx, t, g.geth)
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	g.stop()
	if bytes == 0 {
		t.Fatal("nothing was archived")
	}
	ratio := float64(busy.rank(99)) / float64(quiet.rank(99))
	for name, all := range map[string]intervals{"quiet": quiet, "archiving": busy} {
		t.Logf("%-9s %d blocks: median %s, p99 %s, most %s", name, len(all), all.rank(50).Round(time.Millisecond), all.rank(99).Round(time.Millisecond), all.rank(100).Round(time.Millisecond))
	}
	load, _ := os.ReadFile("/proc/loadavg")
	t.Logf("block interval p99 while archiving: %.2f times that without (%d archives made, %d MB read in %s; load %s)",
		ratio, archives, bytes>>20, turns*turn, load[:min(len(load), 14)])
	if ratio > 1.2 {
		t.Errorf("want at most 1.2 times")
	}
}
