package supervisor

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/reaper"
)

// pipes are the node's ends of the streams and what waits behind them.
type pipes struct {
	stdout, stderr *os.File // the node's
	streams        []*stream
	copied         chan struct{}
	output         *output
}

// stream is one pipe and where it leads.
type stream struct {
	read, ours *os.File // ours may be nil
	closing    atomic.Bool
	moved      atomic.Int64 // grows with whatever gets on

	// Held from the read to what is kept of it: whoever takes the pipe over must
	// not overtake the one who had it.
	mu   sync.Mutex
	over bool // the pipe was taken over
}

// errOver ends a copier whose pipe was taken over.
var errOver = errors.New("taken over")

// open returns fresh pipes for one generation.
func (o *output) open() (*pipes, error) {
	p := &pipes{copied: make(chan struct{}), output: o}
	var both sync.WaitGroup
	for _, s := range []struct {
		node *(*os.File)
		ours *os.File
	}{{&p.stdout, o.stdout}, {&p.stderr, o.stderr}} {
		read, write, err := os.Pipe()
		if err != nil {
			p.started()
			p.shut() // nothing came through them
			return nil, fmt.Errorf("open the node's output: %w", err)
		}
		*s.node = write
		one := &stream{read: read, ours: s.ours}
		p.streams = append(p.streams, one)
		both.Go(func() { reaper.Quietly(func() { o.copy(one) }) })
	}
	go func() { both.Wait(); close(p.copied) }() // ends with the pipes
	return p, nil
}

// started closes our copies of the node's ends: the node holds its own.
func (p *pipes) started() {
	for _, f := range []*os.File{p.stdout, p.stderr} {
		if f != nil {
			f.Close()
		}
	}
}

// close waits until everything was copied, but not for a stream that is stuck:
// what it does not take is still in the tail and in the log file.
func (p *pipes) close() {
	p.await()
	defer p.shut()
	select {
	case <-p.copied:
		return
	default:
	}
	for _, s := range p.streams {
		s.rescue(p.output)
	}
}

func (p *pipes) shut() {
	for _, s := range p.streams {
		s.read.Close()
	}
}

// await returns when all was copied, or when that gets on no more.
func (p *pipes) await() {
	for _, s := range p.streams {
		s.closing.Store(true)
	}
	last := time.After(drain)
	tick := time.NewTicker(stuck / 10)
	defer tick.Stop()
	moved, since := int64(-1), time.Now()
	for {
		select {
		case <-p.copied:
			return
		case <-last:
			return
		case <-tick.C:
		}
		now := int64(0)
		for _, s := range p.streams {
			now += s.moved.Load()
		}
		if now != moved {
			moved, since = now, time.Now()
		} else if time.Since(since) > stuck {
			return
		}
	}
}

// take reads once, and keeps what it read.
func (s *stream) take(o *output, buf []byte, full *bool) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return 0, errOver
	}
	n, err := s.read.Read(buf)
	if n == 0 {
		return 0, err
	}
	werr := o.keep(buf[:n])
	if werr != nil && !*full {
		level.Warn(o.logger).Log("msg", "log file not written; output passes on without it", "err", werr)
	}
	*full = werr != nil
	s.moved.Add(1)
	return n, err
}

// piece is how much is written at once. At the end it is little, so that a slow
// reader can be told from one that is stuck.
func (s *stream) piece() int {
	if s.closing.Load() {
		return 4 << 10
	}
	return 32 << 10
}

// rescue takes the pipe over from a copier that is stuck in our own stream, and
// keeps what is left in it.
func (s *stream) rescue(o *output) {
	_ = s.read.SetReadDeadline(time.Unix(1, 0)) // who waits at it lets go: somebody we don't know holds the node's end
	for deadline := time.Now().Add(stuck); !s.mu.TryLock(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			level.Warn(o.logger).Log("msg", "the log file is stuck; the node's last output is lost")
			return
		}
	}
	defer s.mu.Unlock()
	s.over = true
	_ = s.read.SetReadDeadline(time.Now().Add(time.Second)) // bounds the strangers
	buf, full, left := make([]byte, 32<<10), false, 0
	for {
		n, err := s.read.Read(buf)
		if n > 0 {
			full = o.keep(buf[:n]) != nil || full
			left += n
		}
		if err != nil {
			break
		}
	}
	if left > 0 {
		level.Warn(o.logger).Log("msg", "the reader of the node's output is stuck; the rest is kept, but not passed on", "bytes", left, "log_file", o.file != nil && !full)
	}
}
