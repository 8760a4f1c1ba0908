package supervisor

import (
	"context"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/wemix/wemixvisor/reaper"
)

// Forwarder passes the signals we get on to the node's process group. It does
// nothing else, and nothing that could block: os/signal drops what is not
// taken in time.
type Forwarder struct {
	Signals <-chan os.Signal
	Map     SignalMap
	Target  func() *reaper.Process    // nil when the node is down
	Keep    func(syscall.Signal) bool // true: it was for us; nil keeps none
	Sent    [65]atomic.Uint64         // how many were forwarded, by number
}

// Run forwards until ctx is done.
func (f *Forwarder) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s := <-f.Signals:
			if n, ok := s.(syscall.Signal); ok {
				f.forward(n)
			}
		}
	}
}

func (f *Forwarder) forward(sig syscall.Signal) {
	sig, ok := f.Map.apply(sig)
	if !ok || f.Keep != nil && f.Keep(sig) {
		return
	}
	if p := f.Target(); p != nil && p.Signal(sig) == nil {
		f.Sent[sig].Add(1)
	}
}
