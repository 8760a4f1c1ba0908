package chain

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// How close a height must be for polls to become quicker, and how quick.
const (
	nearBlocks   = 10
	nearInterval = 300 * time.Millisecond
)

// wait is somebody waiting for a height. Run owns the list of them and drops
// those whose context is done.
type wait struct {
	ctx     context.Context
	height  uint64
	reached chan Head // takes one
}

// WaitHeight returns the first head at or above height that a running node
// tells. A head remembered from an earlier process does not count: a node that
// was killed may have gone back.
func (f *Follower) WaitHeight(ctx context.Context, height uint64) (Head, error) {
	w := &wait{ctx: ctx, height: height, reached: make(chan Head, 1)}
	select {
	case f.waits <- w:
	case <-ctx.Done():
		return Head{}, fmt.Errorf("wait for height %d: %w", height, ctx.Err())
	}
	select {
	case h := <-w.reached:
		return h, nil
	case <-ctx.Done():
		return Head{}, fmt.Errorf("wait for height %d: %w", height, ctx.Err())
	}
}

// answer serves those whose height has come.
func (f *Follower) answer() {
	f.waiting = slices.DeleteFunc(f.waiting, func(w *wait) bool {
		if w.ctx.Err() != nil {
			return true
		}
		if f.known.HeadKnown && f.known.Head.Number >= w.height {
			w.reached <- f.known.Head
			return true
		}
		return false
	})
}

// near reports whether somebody waits for one of the next blocks.
func (f *Follower) near() bool {
	if !f.known.HeadKnown {
		return false
	}
	for _, w := range f.waiting {
		if w.height <= f.known.Head.Number+nearBlocks && w.ctx.Err() == nil {
			return true
		}
	}
	return false
}
