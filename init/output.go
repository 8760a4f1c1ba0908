package supervisor

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/reaper"
)

const (
	// stuck is how long a stream of ours or the log file may take nothing at all
	// after the last process of a generation is gone.
	stuck = 3 * time.Second

	// drain is how long a stream of ours that is read slowly may take altogether.
	drain = 15 * time.Second
)

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

// copy passes on what comes through the pipe until that ends, or until somebody
// else takes over reading it.
func (o *output) copy(s *stream) {
	buf := make([]byte, 32<<10)
	var gone, full bool
	for {
		n, err := s.take(o, buf, &full)
		if n > 0 && !gone && s.ours != nil {
			for p := buf[:n]; len(p) > 0 && !gone; {
				piece := p[:min(len(p), s.piece())]
				if werr := reaper.Write(s.ours, piece); werr != nil {
					gone = true
					level.Warn(o.logger).Log("msg", "nobody reads the node's output any more; keeping its tail only", "err", werr)
				}
				s.moved.Add(1)
				p = p[len(piece):]
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
