package upgrade

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	supervisor "github.com/wemix/wemixvisor/init"
)

// BenchmarkSwitch measures what wemixvisor adds to an upgrade, with 16 MB of
// data and no hook: from the exit of the old binary to the exec of the new one,
// and from a trigger file to the order to stop. Medians; the poll interval is
// the default.
func BenchmarkSwitch(b *testing.B) {
	const poll = 300 * time.Millisecond
	var mu sync.Mutex
	var stopping []time.Time
	var window, snapshot, trigger []time.Duration
	t := &testing.T{}
	root := b.TempDir()
	h := lay(t, root, oldNode)
	for i := range 16 { // a database's tables, and its log
		name := fmt.Sprintf("%06d.sst", i)
		if i == 0 {
			name = "000001.log"
		}
		write(t, filepath.Join(root, "data/geth/chaindata", name), strings.Repeat("x", 1<<20))
	}
	for i := range b.N {
		put(t, h.binary(fmt.Sprintf("upgrades/v%d", i)), nodeScript(fmt.Sprintf("2.0.%d", i), "", ""))
	}
	g := rigAt(t, root, func(c *Config, s *supervisor.Config) {
		c.PollInterval = poll
		s.OnTransition = func(from, to supervisor.Status) {
			if to.State == supervisor.Stopping && from.State != to.State {
				mu.Lock()
				stopping = append(stopping, time.Now())
				mu.Unlock()
			}
		}
	})
	g.queue.cfg.Interval = poll
	g.start()
	defer g.stop()
	for i := range b.N {
		name := fmt.Sprintf("v%d", i)
		g.head(uint64(3 + i))
		g.must(g.Schedule(Plan{Name: name, Height: 1 << 40}, "", false)) // staged and checked before
		g.becomes(name, Prepared)
		g.must(g.Cancel(name))
		at := time.Now()
		g.plan(`{"name":"` + name + `","height":1}`)
		e := g.becomes(name, Done)
		mu.Lock()
		trigger = append(trigger, stopping[len(stopping)-1].Sub(at))
		mu.Unlock()
		snapshot = append(snapshot, e.Switch.Downtime.Snapshot)
		window = append(window, e.Switch.Downtime.Total()-e.Switch.Downtime.Stop)
	}
	slices.Sort(window)
	slices.Sort(snapshot)
	slices.Sort(trigger)
	b.ReportMetric(float64(window[len(window)/2].Microseconds())/1000, "ms-exit-to-exec")
	b.ReportMetric(float64(snapshot[len(snapshot)/2].Microseconds())/1000, "ms-of-it-snapshot")
	b.ReportMetric(float64(trigger[len(trigger)/2].Microseconds())/1000, "ms-trigger-to-stop")
	b.ReportMetric(float64(trigger[len(trigger)-1].Microseconds())/1000, "ms-trigger-to-stop-max")
	b.ReportMetric(0, "ns/op")
	_ = os.Remove(filepath.Join(root, "starts"))
}
