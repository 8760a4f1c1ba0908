package backup

import (
	"context"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// frameReader reads the stream that a frameWriter wrote: one goroutine reads the
// file in order, one sums it up, some undo the compression, and whoever calls take
// gets the pieces in order.
type frameReader struct {
	cancel context.CancelFunc
	ctx    context.Context
	cur    *frame
	rest   []byte // of cur
	at     int64  // in the stream
	free   chan *frame
	jobs   chan *frame
	order  chan *frame
	ended  sync.WaitGroup
}

// newFrameReader starts to read frames of the given sizes, which hold size bytes
// of the stream. What is read goes into sum as well, which has all of it when the
// stream has ended.
func newFrameReader(ctx context.Context, file *os.File, sizes []int32, size int64, workers int, sum hash.Hash) (*frameReader, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := &frameReader{
		ctx: ctx, cancel: cancel,
		free: make(chan *frame, workers+2), jobs: make(chan *frame, workers+2), order: make(chan *frame, workers+2),
	}
	workers = min(workers, len(sizes))
	for range min(workers+2, len(sizes)) {
		f := &frame{raw: make([]byte, 0, min(frameSize, size)), summed: make(chan struct{}, 1)}
		f.summed <- struct{}{}
		r.free <- f
	}
	for range workers {
		// The frames' own checksums are for others: sum covers every byte of them, and
		// the manifest knows each file's.
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(frameSize), zstd.WithDecodeAllCapLimit(true),
			zstd.IgnoreChecksum(true))
		if err != nil {
			close(r.jobs)
			r.Close()
			return nil, err
		}
		r.ended.Go(func() {
			defer dec.Close()
			for f := range r.jobs {
				if f.err == nil {
					f.undo(dec)
				}
				close(f.done)
			}
		})
	}
	r.ended.Go(func() { r.read(file, sizes, size, sum) })
	return r, nil
}

func (f *frame) undo(dec *zstd.Decoder) {
	raw, err := dec.DecodeAll(f.packed, f.raw[:0])
	switch {
	case err != nil:
		f.err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	case int64(len(raw)) != f.want:
		f.err = fmt.Errorf("%w: a frame of %d bytes, %d expected", ErrCorrupt, len(raw), f.want)
	default:
		f.raw = raw
	}
}

func (r *frameReader) read(file *os.File, sizes []int32, size int64, sum hash.Hash) {
	defer close(r.order)
	defer close(r.jobs)
	sums := make(chan *frame, cap(r.free))
	var summing sync.WaitGroup
	summing.Go(func() {
		for f := range sums {
			sum.Write(f.packed)
			f.summed <- struct{}{}
		}
	})
	defer summing.Wait()
	defer close(sums)
	reader := newDirectReader(file, size)
	defer setDirect(reader.fd, false) // what reads on may want any number of bytes
	at := int64(0)
	for i, n := range sizes {
		var f *frame
		select {
		case f = <-r.free:
		case <-r.ctx.Done():
			return
		}
		if f.disk == nil {
			f.disk = make([]byte, blocks(int(slices.Max(sizes)))+directAlign)
		}
		<-f.summed
		f.want = min(frameSize, size-int64(i)*frameSize)
		f.done = make(chan struct{})
		f.packed, f.err = reader.piece(f.disk, at, int(n))
		failed := f.err != nil
		r.order <- f // holds all frames there are
		r.jobs <- f  // from here on f.err is the worker's
		if failed {
			return
		}
		sums <- f
		at += int64(n)
	}
}

// take returns the next bytes of the stream, at most n, valid until the next
// call, or io.EOF.
func (r *frameReader) take(n int64) ([]byte, error) {
	for len(r.rest) == 0 {
		if r.cur != nil {
			r.free <- r.cur
			r.cur = nil
		}
		if err := r.ctx.Err(); err != nil {
			return nil, err
		}
		f, ok := <-r.order
		if !ok {
			return nil, io.EOF
		}
		<-f.done
		if f.err != nil {
			return nil, f.err
		}
		r.cur, r.rest = f, f.raw
	}
	p := r.rest[:min(int64(len(r.rest)), n)]
	r.rest = r.rest[len(p):]
	r.at += int64(len(p))
	return p, nil
}

// Read copies from the stream: the headers, which are small.
func (r *frameReader) Read(p []byte) (int, error) {
	b, err := r.take(int64(len(p)))
	return copy(p, b), err
}

// Close ends the goroutines.
func (r *frameReader) Close() {
	r.cancel()
	r.ended.Wait()
}
