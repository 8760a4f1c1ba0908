package main

import (
	"context"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// lostAfter is how long a signal may take before it counts as lost.
const lostAfter = 100 * time.Millisecond

// measureHop sends n signals to PID 1, one at a time, and returns how long each
// took to the child, and how many did not arrive.
func measureHop(ctx context.Context, c contestant, n int) (hops []float64, lost int, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, 0, err
	}
	b, err := open(ctx, c, self, childRole, hopTask)
	if err != nil {
		return nil, 0, err
	}
	defer b.close()
	if _, err := b.hear(patience); err != nil {
		return nil, 0, err
	}
	time.Sleep(20 * time.Millisecond) // the init comes to rest
	for range n {
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		sent := clock()
		if err := b.proc.Signal(syscall.Signal(hopSignal)); err != nil {
			return nil, 0, b.fail("signal", err)
		}
		line, err := b.hear(lostAfter)
		if os.IsTimeout(err) {
			lost++
			_, _ = b.hear(4 * lostAfter) // it is late: not to be taken for the next one
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		at, err := strconv.ParseInt(line, 10, 64)
		if err != nil {
			return nil, 0, b.fail("read its time", err)
		}
		hops = append(hops, float64(at-sent)/1e3)
		time.Sleep(200 * time.Microsecond) // all are asleep again: the hop of a lone signal, not of a stream
	}
	slices.Sort(hops)
	return hops, lost, nil
}
