package backup

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"sync"

	"github.com/zeebo/xxh3"
)

// frameSize is the input of one zstd frame. Frames know nothing of each other,
// so many can be made, and undone, at a time. It is part of the format.
const frameSize = 4 << 20

// frame is a piece of the stream on its way through the workers.
type frame struct {
	raw, packed []byte
	disk        []byte // when reading: what packed lies in
	want        int64  // of raw, when reading
	err         error
	done        chan struct{} // the worker is through with it
	summed      chan struct{} // when reading: holds one while packed may be overwritten
}

// frameWriter cuts a stream into frames, compresses them with some workers, and
// writes them in order.
//
// Its memory is that of workers+2 frames, full and compressed, however fast the
// input is.
type frameWriter struct {
	ctx     context.Context
	fail    context.CancelCauseFunc
	alone   func() bool // one frame at a time, please; may change its mind
	fill    *frame
	last    *frame
	free    chan *frame
	jobs    chan *frame
	order   chan *frame
	pending sync.WaitGroup // frames handed over and not yet written
	ended   sync.WaitGroup // the workers and the writer

	// Owned by the writer; to be read when nothing is pending.
	sum    hash.Hash // of all that was written: sha256, for everybody
	quick  hash.Hash // likewise: xxh3, for us to compare at once
	sizes  []int32
	size   int64
	onward func(size int64) error // sees what was written so far
}

// newFrameWriter starts workers that write to out until Close.
func newFrameWriter(ctx context.Context, out io.Writer, level, workers int, alone func() bool, onward func(int64) error) (*frameWriter, error) {
	ctx, fail := context.WithCancelCause(ctx)
	w := &frameWriter{
		ctx: ctx, fail: fail, alone: alone, onward: onward,
		free: make(chan *frame, workers+2), jobs: make(chan *frame, workers+2), order: make(chan *frame, workers+2),
		sum: sha256.New(), quick: xxh3.New(),
	}
	for range workers + 2 {
		w.free <- &frame{raw: make([]byte, 0, frameSize)}
	}
	for range workers {
		enc, err := newFrameEncoder(level)
		if err != nil {
			w.Close()
			return nil, err
		}
		w.ended.Go(func() {
			for f := range w.jobs {
				f.packed = enc.encode(f.raw, f.packed)
				close(f.done)
			}
		})
	}
	w.ended.Go(func() { w.write(out) })
	return w, nil
}

// write puts the frames to out as they were cut.
func (w *frameWriter) write(out io.Writer) {
	for f := range w.order {
		<-f.done
		if w.ctx.Err() == nil { // else what follows is for nobody
			if _, err := out.Write(f.packed); err != nil {
				w.fail(err)
			}
			w.sum.Write(f.packed)
			w.quick.Write(f.packed)
			w.sizes = append(w.sizes, int32(len(f.packed)))
			w.size += int64(len(f.packed))
			if err := w.onward(w.size); err != nil {
				w.fail(err)
			}
		}
		f.raw = f.raw[:0]
		w.pending.Done()
		w.free <- f
	}
}

// room returns the unused part of the current frame, so that a file is read into
// the place where it is compressed; filled says how much of it was used.
func (w *frameWriter) room() ([]byte, error) {
	if w.fill == nil {
		select {
		case w.fill = <-w.free:
		case <-w.ctx.Done():
			return nil, context.Cause(w.ctx)
		}
	}
	return w.fill.raw[len(w.fill.raw):frameSize], nil
}

func (w *frameWriter) filled(n int) {
	w.fill.raw = w.fill.raw[:len(w.fill.raw)+n]
	if len(w.fill.raw) == frameSize {
		w.cut()
	}
}

// Write copies p into the stream.
func (w *frameWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		room, err := w.room()
		if err != nil {
			return n, err
		}
		k := copy(room, p)
		w.filled(k)
		n, p = n+k, p[k:]
	}
	return n, nil
}

// cut ends the current frame.
func (w *frameWriter) cut() {
	f := w.fill
	if f == nil || len(f.raw) == 0 {
		return
	}
	w.fill = nil
	if w.last != nil && w.alone() {
		<-w.last.done
	}
	f.done = make(chan struct{})
	w.last = f
	w.pending.Add(1)
	w.order <- f // never blocks: it holds all the frames there are
	w.jobs <- f
}

// drain cuts, waits until all is written, and returns the sizes of the frames.
func (w *frameWriter) drain() ([]int32, error) {
	w.cut()
	w.pending.Wait()
	return w.sizes, context.Cause(w.ctx)
}

// Close ends the workers. What was not drained may or may not be written.
func (w *frameWriter) Close() {
	close(w.jobs)
	close(w.order)
	w.ended.Wait()
	w.fail(nil)
}
