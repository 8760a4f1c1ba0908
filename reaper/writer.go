package reaper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Write writes all of p to f without Go's own treatment of standard streams,
// which raises SIGPIPE on a closed one. Call it inside [Quietly].
func Write(f *os.File, p []byte) error {
	fd := int(f.Fd())
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		switch {
		case err == nil:
			p = p[n:]
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN): // somebody else made it non-blocking
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
		default:
			return fmt.Errorf("write %s: %w", f.Name(), err)
		}
	}
	return nil
}

// Writer carries our own log to a stream whose reader may be slow, stuck or
// gone: a full pipe must not stop PID 1. What does not fit is dropped, and the
// next line that does fit is preceded by how many were lost.
type Writer struct {
	f       *os.File
	lines   chan []byte
	dropped atomic.Uint64
}

// NewWriter returns a Writer to f. Don't forget to Run it.
func NewWriter(f *os.File) *Writer {
	return &Writer{f: f, lines: make(chan []byte, 1024)}
}

// Write queues one log line. It never blocks and never fails.
func (w *Writer) Write(p []byte) (int, error) {
	select {
	case w.lines <- append([]byte(nil), p...):
	default:
		w.dropped.Add(1)
	}
	return len(p), nil
}

// flush is how long the last lines may take at the end.
const flush = time.Second

// Run writes the queued lines until ctx is done and the queue is empty. A
// reader that is stuck at the end costs a second, then its lines are lost.
func (w *Writer) Run(ctx context.Context) error {
	written := make(chan struct{})
	go func() { // abandoned only if stuck in write(2) at the very end
		defer close(written)
		Quietly(func() { w.write(ctx) })
	}()
	<-ctx.Done()
	select {
	case <-written:
	case <-time.After(flush):
	}
	return ctx.Err()
}

func (w *Writer) write(ctx context.Context) {
	for {
		select {
		case line := <-w.lines:
			w.line(line)
		case <-ctx.Done():
			for {
				select {
				case line := <-w.lines:
					w.line(line)
				default:
					return
				}
			}
		}
	}
}

func (w *Writer) line(p []byte) {
	if n := w.dropped.Swap(0); n > 0 {
		_ = Write(w.f, fmt.Appendf(nil, "level=warn msg=\"log lines dropped: nobody read them in time\" lines=%d\n", n))
	}
	_ = Write(w.f, p)
}
