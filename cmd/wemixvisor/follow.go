package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// follow shows how far a long work has come: one line on a terminal, else a line
// every ten seconds at most. The returned function ends it.
func follow(ask func(context.Context) (done, total int64, rate float64, ok bool)) (over func()) {
	_, err := unix.IoctlGetTermios(int(os.Stderr.Fd()), unix.TCGETS)
	terminal := err == nil
	every := 10 * time.Second
	if terminal {
		every = 500 * time.Millisecond
	}
	return background(func(ctx context.Context) error {
		tick := time.NewTicker(every)
		defer tick.Stop()
		shown := 0
		for {
			select {
			case <-ctx.Done():
				if shown > 0 && terminal {
					fmt.Fprint(os.Stderr, "\r"+strings.Repeat(" ", shown)+"\r")
				}
				return nil
			case <-tick.C:
			}
			done, total, rate, ok := ask(ctx)
			if !ok {
				continue
			}
			text := progress(done, total, rate)
			if !terminal {
				fmt.Fprintln(os.Stderr, text)
				continue
			}
			fmt.Fprint(os.Stderr, "\r"+text+strings.Repeat(" ", max(shown-len(text), 0)))
			shown = len(text)
		}
	})
}

// progress words bytes, rate and what is left.
func progress(done, total int64, rate float64) string {
	const mib = 1 << 20
	text := fmt.Sprintf("%.1f MiB", float64(done)/mib)
	if total > 0 {
		text = fmt.Sprintf("%.1f of %.1f MiB", float64(done)/mib, float64(total)/mib)
	}
	if rate > 0 {
		text += fmt.Sprintf(", %.1f MiB/s", rate/mib)
		if total > done {
			text += fmt.Sprintf(", %s left", time.Duration(float64(total-done)/rate*float64(time.Second)).Round(time.Second))
		}
	}
	return text
}
