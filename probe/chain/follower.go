package chain

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
)

// Config is what a Follower needs. Zero values mean the defaults.
type Config struct {
	Address    string        // host:port, URL or IPC path
	IPC        string        // optional pattern of the node's IPC socket, asked for a sign of life when Address is silent
	Interval   time.Duration // between polls; 1s
	PeersEvery time.Duration // between questions about peers; 30s
	Timeout    time.Duration // of one call; 5s
	StateFile  string        // where the last head is kept for the next start; optional
	Logger     log.Logger

	OnFacts func(Facts)               // every change; called from Run, must not block
	OnHead  func(Head)                // every new head; likewise
	OnAlarm func(what, detail string) // the chain id or genesis is not what it was
}

// Follower knows how the node is doing.
type Follower struct {
	cfg   Config
	facts atomic.Pointer[Facts]
}

// NewFollower returns a Follower. Don't forget to Run it.
func NewFollower(cfg Config) (*Follower, error) {
	f := &Follower{cfg: cfg}
	f.facts.Store(&Facts{})
	return f, nil
}

// Run follows the node until ctx is done.
func (f *Follower) Run(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// Facts returns what is known now. It never blocks.
func (f *Follower) Facts() Facts { return *f.facts.Load() }

// NodeStarted tells that a new node process runs since at. It never blocks.
func (f *Follower) NodeStarted(at time.Time) {}

// NodeStopped tells that the node process is gone. It never blocks.
func (f *Follower) NodeStopped() {}

// WaitHeight returns the first head at or above height that a running node tells.
func (f *Follower) WaitHeight(ctx context.Context, height uint64) (Head, error) {
	<-ctx.Done()
	return Head{}, ctx.Err()
}
