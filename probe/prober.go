package probe

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/probe/chain"
)

// Config is what a Prober needs. Margins: a head too old counts as young again
// below four fifths of the limit, a lag likewise; memory recovers two percent
// below its limit, a disk at a fifth above; too few peers must have lasted half
// a minute once there were enough.
type Config struct {
	MaxHeadAge        time.Duration    // 0: the head's age is not looked at
	LiveMaxRPCSilence time.Duration    // 0: silence is not looked at
	MinPeers          int              //
	MaxLag            uint64           // blocks
	MaxMemory         float64          // percent of the limit; 0 means 95
	MinFree           float64          // percent of a disk's bytes and inodes; 0 means 5
	LoopBeat          func() time.Time // when the supervisor's loop last turned; nil: not judged
	Logger            log.Logger
	Now               func() time.Time // for tests
}

// Node is what the supervisor knows. It pushes one at every transition.
type Node struct {
	State   string // the supervisor's word; running is the one that counts
	Reason  string // why it is not running
	PID     int
	Started time.Time   // of the process; the follower was told the same or a later moment
	Change  string      // kind of the change in progress, or empty
	Held    bool        // down on purpose
	Stuck   bool        // down because it could not be started
	Failed  bool        // for good
	Spent   []time.Time // restarts that count against the budget
}

// Prober judges what was pushed into it.
type Prober struct {
	cfg Config

	node      atomic.Pointer[Node]
	facts     atomic.Pointer[chain.Facts]
	phase     atomic.Pointer[string]
	resources atomic.Pointer[Resources]
	limits    atomic.Pointer[Limits]
	alarm     atomic.Pointer[string]

	answered    atomic.Bool               // RPC did, once in this supervisor's life
	changeEnded atomic.Pointer[time.Time] // the last one; a silence is not counted from before
	peersEnough atomic.Pointer[time.Time] // when there last were, in this node process

	headAge, lag, memory, disk limit
}

// New returns a Prober. Don't forget to Run it.
func New(cfg Config) *Prober {
	if cfg.MaxMemory <= 0 {
		cfg.MaxMemory = 95
	}
	if cfg.MinFree <= 0 {
		cfg.MinFree = 5
	}
	if cfg.Logger == nil {
		cfg.Logger = log.NewNopLogger()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Prober{cfg: cfg}
	p.limits.Store(cfg.limits())
	p.node.Store(&Node{})
	p.facts.Store(&chain.Facts{})
	p.phase.Store(new(string))
	p.resources.Store(&Resources{})
	p.alarm.Store(new(string))
	p.changeEnded.Store(&time.Time{})
	p.peersEnough.Store(&time.Time{})
	return p
}

// Run logs changes of the answers until ctx is done. It judges once a second,
// so that they are logged, and limits remembered, where nobody probes.
func (p *Prober) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := journal{live: true, memory: true, disk: true}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			last = p.note(last)
		}
	}
}

// journal is what was logged last.
type journal struct{ live, ready, startup, memory, disk bool }

func (p *Prober) note(last journal) journal {
	live, ready, startup := p.Live(), p.Ready(), p.Startup()
	memory, disk := p.memoryCheck(), p.diskCheck()
	for _, turn := range []struct {
		was, is        bool
		good, bad, why string
	}{
		{last.live, live.OK, "live again", "not live", live.Why()},
		{last.ready, ready.OK, "ready", "not ready", ready.Why()},
		{last.startup, startup.OK, "startup over", "starting up again", startup.Why()},
		{last.memory, memory.Healthy, "memory below its limit again", "memory short", memory.Error},
		{last.disk, disk.Healthy, "disk space back", "disk space short", disk.Error},
	} {
		switch {
		case turn.is && !turn.was:
			level.Info(p.cfg.Logger).Log("msg", turn.good)
		case turn.was && !turn.is:
			level.Warn(p.cfg.Logger).Log("msg", turn.bad, "why", turn.why)
		}
	}
	return journal{live.OK, ready.OK, startup.OK, memory.Healthy, disk.Healthy}
}

// SetNode pushes the node's state. Only the supervisor's observer calls it.
func (p *Prober) SetNode(n Node) {
	if last := p.node.Swap(&n); last.Change != "" && n.Change == "" {
		now := p.cfg.Now()
		p.changeEnded.Store(&now)
	}
}

// SetFacts pushes what the follower knows. Only the follower calls it.
func (p *Prober) SetFacts(f chain.Facts) {
	if last := p.facts.Swap(&f); !last.Started.Equal(f.Started) {
		p.peersEnough.Store(&time.Time{})
	}
	if !f.FirstAnswer.IsZero() && !p.answered.Load() {
		p.answered.Store(true)
	}
	if f.PeersKnown && f.Peers >= p.limits.Load().MinPeers {
		now := p.cfg.Now()
		p.peersEnough.Store(&now)
	}
}

// SetPhase names what is done before the node may start (recovery, waiting for
// the lock); empty when that is over.
func (p *Prober) SetPhase(phase string) { p.phase.Store(&phase) }

// SetAlarm says how the chain is another one than it was; empty when it is the
// old one again. Readiness does not ask for that: health does.
func (p *Prober) SetAlarm(how string) { p.alarm.Store(&how) }

// SetResources pushes a sample.
func (p *Prober) SetResources(r Resources) { p.resources.Store(&r) }

// Node returns what was pushed last.
func (p *Prober) Node() Node { return *p.node.Load() }

// Facts returns what was pushed last.
func (p *Prober) Facts() chain.Facts { return *p.facts.Load() }

// Alarm returns what was pushed last.
func (p *Prober) Alarm() string { return *p.alarm.Load() }

// Resources returns what was sampled last.
func (p *Prober) Resources() Resources { return *p.resources.Load() }
