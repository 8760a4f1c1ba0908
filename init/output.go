package supervisor

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/reaper"
)

// drain is how long what is left in the pipes may take after the last process
// of a generation is gone.
const drain = 2 * time.Second

// output carries what the node writes to our own streams, byte by byte, and to
// the tail and the log file. A stream of ours that nobody reads holds the node
// up as it would without us; one that is closed does not.
type output struct {
	stdout, stderr *os.File
	tail           *Tail
	file           io.Writer // may be nil
	logger         log.Logger

	// Two streams, one file. Held from the write to the tail to the write to the
	// file: both hold the same, in the same order.
	mu sync.Mutex
}

// pipes are the node's ends of the streams and what waits behind them.
type pipes struct {
	stdout, stderr *os.File // the node's
	reads          []*os.File
	copied         chan struct{}
}

// open returns fresh pipes for one generation.
func (o *output) open() (*pipes, error) {
	p := &pipes{copied: make(chan struct{})}
	var both sync.WaitGroup
	for _, s := range []struct {
		node *(*os.File)
		ours *os.File
	}{{&p.stdout, o.stdout}, {&p.stderr, o.stderr}} {
		read, write, err := os.Pipe()
		if err != nil {
			p.started()
			p.close()
			return nil, fmt.Errorf("open the node's output: %w", err)
		}
		*s.node = write
		p.reads = append(p.reads, read)
		both.Go(func() { reaper.Quietly(func() { o.copy(s.ours, read) }) })
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

// close waits until everything was copied, but not for a stream that is stuck.
func (p *pipes) close() {
	select {
	case <-p.copied:
	case <-time.After(drain):
	}
	for _, f := range p.reads {
		f.Close()
	}
}

func (o *output) copy(to, from *os.File) {
	buf := make([]byte, 32<<10)
	var gone, full bool
	for {
		n, err := from.Read(buf)
		if n > 0 {
			werr := o.keep(buf[:n])
			if werr != nil && !full {
				level.Warn(o.logger).Log("msg", "log file not written; output passes on without it", "err", werr)
			}
			full = werr != nil
			if !gone && to != nil {
				if werr := reaper.Write(to, buf[:n]); werr != nil {
					gone = true
					level.Warn(o.logger).Log("msg", "nobody reads the node's output any more; keeping its tail only", "err", werr)
				}
			}
		}
		if err != nil {
			return
		}
	}
}

// keep writes p to the tail and to the file, if there is one.
func (o *output) keep(p []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, _ = o.tail.Write(p)
	if o.file == nil {
		return nil
	}
	_, err := o.file.Write(p)
	return err
}
