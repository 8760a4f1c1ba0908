//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// cadence is one probe's settings, by Kubernetes' names.
type cadence struct {
	period, timeout time.Duration // periodSeconds, timeoutSeconds
	failures        int           // failureThreshold
}

// schedule is what a pod tells its kubelet.
type schedule struct{ startup, liveness, readiness cadence }

// usual is what Kubernetes takes where a manifest says nothing, with the
// thirty startup failures of its own examples.
var usual = schedule{
	startup:   cadence{10 * time.Second, time.Second, 30},
	liveness:  cadence{10 * time.Second, time.Second, 3},
	readiness: cadence{10 * time.Second, time.Second, 3},
}

// brisk is for a test that wants to see a kubelet decide.
var brisk = schedule{
	startup:   cadence{time.Second, 5 * time.Second, 300},
	liveness:  cadence{time.Second, 5 * time.Second, 3},
	readiness: cadence{time.Second, 5 * time.Second, 1},
}

// kubelet probes a container as a real one does, and writes down when it would
// have killed it: the startup probe first, the others only after it succeeded
// once in this run of the container, a failure only when it has lasted for so
// many probes, and nothing while the container does not run. Unlike a real one
// it goes on while the container is being stopped.
type kubelet struct {
	name  string
	place func(context.Context) (run, url string) // which run of the container, and its probe listener; empty while it does not run

	mu      sync.Mutex
	started string // the run whose startup probe succeeded
	lost    bool
	kills   []kill
	ready   bool
}

// kill is one decision to kill the container.
type kill struct {
	why   string
	right bool // the test had said that the node was lost
}

// watch runs a kubelet until the test's end, which fails if it would have
// killed the container.
func watch(t *testing.T, name string, s schedule, place func(context.Context) (run, url string)) *kubelet {
	k := &kubelet{name: name, place: place}
	var workers sync.WaitGroup
	for _, w := range []worker{
		{k: k, path: "/startupz", cadence: s.startup},
		{k: k, path: "/livez", cadence: s.liveness},
		{k: k, path: "/readyz", cadence: s.readiness},
	} {
		workers.Go(func() { w.run(t.Context()) })
	}
	t.Cleanup(func() {
		workers.Wait() // the test's context is done
		for _, kill := range k.killed() {
			if !kill.right {
				t.Errorf("a kubelet would have killed %s: %s", name, kill.why)
			}
		}
	})
	return k
}

// truly says that from here on the node is lost, and that a kill is right.
func (k *kubelet) truly() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lost = true
}

// killed returns why and when the kubelet would have killed the container.
func (k *kubelet) killed() []kill {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.kills)
}

// serving reports whether the container would get traffic.
func (k *kubelet) serving() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ready
}

// worker is one probe of one container, as in the kubelet's prober.
type worker struct {
	k *kubelet
	cadence
	path string

	seen   string // the run that the count below is about
	onHold bool   // it was killed; wait for the next run
	failed int    // in a row
}

func (w *worker) run(ctx context.Context) {
	tick := time.NewTicker(w.period)
	defer tick.Stop()
	for {
		w.probe(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *worker) probe(ctx context.Context) {
	run, url := w.k.place(ctx)
	if run != w.seen {
		w.seen, w.onHold, w.failed = run, false, 0
		if w.path == "/readyz" {
			w.k.set(func() { w.k.ready = false })
		}
	}
	var begun bool
	w.k.set(func() { begun = w.k.started == run })
	if run == "" || w.onHold || begun == (w.path == "/startupz") {
		return
	}
	why := w.ask(ctx, url)
	if ctx.Err() != nil {
		return
	}
	if again, _ := w.k.place(ctx); again != run {
		return // it ended while it was asked
	}
	if why == "" {
		w.failed = 0
		w.k.set(func() {
			switch w.path {
			case "/startupz":
				w.k.started = run
			case "/readyz":
				w.k.ready = true
			}
		})
		return
	}
	if w.failed++; w.failed < w.failures {
		return
	}
	w.k.set(func() {
		if w.path == "/readyz" {
			w.k.ready = false
			return
		}
		w.onHold = true
		why = fmt.Sprintf("%s failed %d times: %s (%s)", w.path, w.failed, why, time.Now().Format(time.TimeOnly))
		w.k.kills = append(w.k.kills, kill{why, w.k.lost})
	})
}

func (k *kubelet) set(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

// ask returns why the probe failed, nothing when it did not. A kubelet makes a
// connection of its own for each probe.
func (w *worker) ask(ctx context.Context, url string) string {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+w.path, nil)
	if err != nil {
		return err.Error()
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return resp.Status + " " + strings.TrimSpace(string(body))
	}
	return ""
}
