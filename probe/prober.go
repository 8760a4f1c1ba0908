package probe

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"

	"github.com/wemix/wemixvisor/probe/chain"
)

// Config is what a Prober needs.
type Config struct {
	MaxHeadAge        time.Duration // 0: the head's age is not looked at
	LiveMaxRPCSilence time.Duration // 0: silence is not looked at
	MinPeers          int
	MaxLag            uint64
	LoopBeat          func() time.Time // when the supervisor's loop last turned; nil: not judged
	Logger            log.Logger
	Now               func() time.Time // for tests
}

// Node is what the supervisor knows. It pushes one at every transition.
type Node struct {
	State   string // the supervisor's word; running is the one that counts
	Reason  string // why it is not running
	PID     int
	Started time.Time
	Change  string // kind of the change in progress, or empty
	Held    bool   // down on purpose
	Failed  bool   // for good
}

// Prober judges what was pushed into it.
type Prober struct {
	cfg       Config
	node      atomic.Pointer[Node]
	facts     atomic.Pointer[chain.Facts]
	phase     atomic.Pointer[string]
	resources atomic.Pointer[Resources]
}

// New returns a Prober. Don't forget to Run it.
func New(cfg Config) *Prober {
	p := &Prober{cfg: cfg}
	p.node.Store(&Node{})
	p.facts.Store(&chain.Facts{})
	p.phase.Store(new(string))
	p.resources.Store(&Resources{})
	return p
}

// Run logs changes of the answers until ctx is done.
func (p *Prober) Run(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// SetNode pushes the node's state.
func (p *Prober) SetNode(n Node) { p.node.Store(&n) }

// SetFacts pushes what the follower knows.
func (p *Prober) SetFacts(f chain.Facts) { p.facts.Store(&f) }

// SetPhase names what is done before the node may start (recovery, waiting for
// the lock); empty when that is over.
func (p *Prober) SetPhase(phase string) { p.phase.Store(&phase) }

// SetResources pushes a sample.
func (p *Prober) SetResources(r Resources) { p.resources.Store(&r) }

// Node returns what was pushed last.
func (p *Prober) Node() Node { return *p.node.Load() }

// Facts returns what was pushed last.
func (p *Prober) Facts() chain.Facts { return *p.facts.Load() }

// Resources returns what was sampled last.
func (p *Prober) Resources() Resources { return *p.resources.Load() }

// Live tells whether killing would not help.
func (p *Prober) Live() Verdict { return Verdict{} }

// Ready tells whether the node should get traffic.
func (p *Prober) Ready() Verdict { return Verdict{} }

// Startup tells whether an orchestrator may begin to judge.
func (p *Prober) Startup() Verdict { return Verdict{} }

// Health returns all checks.
func (p *Prober) Health() Health { return Health{} }
