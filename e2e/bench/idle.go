package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// idlers are inits that all do nothing, side by side.
type idlers struct {
	boxes map[string]*box
	home  string // of the supervisor in run mode
	run   *box
}

// openIdlers starts every init with a child that waits, and the supervisor
// once more in run mode over a node that sleeps.
func openIdlers(ctx context.Context, cs []contestant, supervisor string) (*idlers, error) {
	i := &idlers{boxes: map[string]*box{}}
	for _, c := range inits(cs) {
		b, err := openStorm(ctx, c, litter) // none until it has rested
		if err != nil {
			i.close()
			return nil, err
		}
		i.boxes[c.name] = b.box
	}
	if supervisor == "" {
		return i, nil
	}
	if err := i.openRun(ctx, supervisor); err != nil {
		i.close()
		return nil, err
	}
	return i, nil
}

// sleepyNode answers as a node does when asked for its version, and else
// sleeps until the namespace ends.
const sleepyNode = `#!/bin/sh
case "$1" in
version) echo v1.0.0 ;;
*) exec sleep 600 ;;
esac
`

func (i *idlers) openRun(ctx context.Context, supervisor string) (err error) {
	if i.home, err = os.MkdirTemp("", "bench-"); err != nil {
		return err
	}
	bin := filepath.Join(i.home, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(bin, "wemixd"), []byte(sleepyNode), 0o755); err != nil {
		return err
	}
	i.run, err = launch(ctx, "run mode", []string{supervisor, "run"}, []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"),
		"DAEMON_HOME=" + filepath.Join(i.home, "data"),
		"DAEMON_PROBE_ADDRESS=127.0.0.1:0", // any free port: 9090 may be taken
	})
	return err
}

// measure returns the wake-ups per second of each init over the window, and
// the memory of run mode. Who died does not wake up either, so all have to
// prove that they lived.
func (i *idlers) measure(ctx context.Context, window time.Duration) (wakeups map[string]float64, run float64, err error) {
	before := map[string]int{}
	for name, b := range i.boxes {
		if before[name], err = switches(b.pid()); err != nil {
			return nil, 0, b.fail("count wake-ups", err)
		}
	}
	if err := rest(ctx, window); err != nil {
		return nil, 0, err
	}
	wakeups = map[string]float64{}
	for name, b := range i.boxes {
		after, err := switches(b.pid())
		if err != nil {
			return nil, 0, b.fail("count wake-ups", err)
		}
		wakeups[name] = float64(after-before[name]) / window.Seconds()
		if err := b.tell("go"); err != nil {
			return nil, 0, err
		}
		if _, err := b.hear(patience); err != nil {
			return nil, 0, err
		}
	}
	if i.run == nil {
		return wakeups, 0, nil
	}
	if living, _, err := census(i.run.pid()); err != nil || living < 2 {
		return nil, 0, i.run.fail("look for its node", errors.Join(err, fmt.Errorf("%d processes live", living)))
	}
	if run, err = rss(i.run.pid()); err != nil {
		return nil, 0, i.run.fail("read its memory", err)
	}
	return wakeups, run, nil
}

func (i *idlers) close() {
	for _, b := range i.boxes {
		b.close()
	}
	if i.run != nil {
		i.run.close()
	}
	if i.home != "" {
		if err := os.RemoveAll(i.home); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
}

// rest sleeps, unless ctx ends first.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
