package chain

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// Config is what a Follower needs. Zero values mean the defaults.
type Config struct {
	Address    string        // host:port, URL or IPC path
	IPC        string        // optional glob of the node's IPC socket, asked for a sign of life when Address is silent
	Interval   time.Duration // between polls; 1s
	PeersEvery time.Duration // between questions about peers, and about who the node is; 30s
	Timeout    time.Duration // of one call; 5s
	StateFile  string        // where the last head is kept for the next start; optional
	Logger     log.Logger

	ConsensusEvery time.Duration // between questions of a validator about consensus; 3s, negative: none
	Downtime       time.Duration // the longest a validator is away for a planned stop; 1m. Alike in the whole network: it makes the slots

	// Called from Run: they must not block.
	OnFacts func(Facts)  // every change, also a mere new answer
	OnHead  func(Head)   // every new head
	OnAlarm func(string) // the chain is another one than it was: how; empty when it is that again

	// Called from Run's second goroutine; it must not block either.
	OnConsensus func(Consensus) // every change, also a mere new answer
}

// Follower knows how the node is doing.
//
// It questions a running node only: NodeStarted and NodeStopped say when that
// is. Where the transport carries it, new heads come by subscription and the
// polls become a heartbeat; else every interval, quicker while somebody waits
// for a height that is near.
type Follower struct {
	cfg     Config
	client  *Client
	watcher *watcher

	facts atomic.Pointer[Facts]
	life  atomic.Pointer[life]
	kick  chan struct{} // there is another life
	waits chan *wait

	// The rest belongs to Run.
	known      Facts
	expected   Facts // of whom only chain id and genesis count: the first ever known
	alarmed    bool  // the node is on another chain than expected
	current    *life
	identified bool
	offers     map[string]bool // what this process said no to is false
	told       map[string]bool // methods whose absence was logged
	silent     bool            // logged that RPC is silent
	heads      <-chan header   // nil: not subscribed
	lost       <-chan error
	polled     time.Time // when the head was asked for, or heard of, last
	peersDue   time.Time
	met        time.Time // when the node said who it is, last
	waiting    []*wait
	saved      time.Time
	dirty      bool // known differs from the state file
}

// life is one node process, or the time without one (started is zero). Its
// context ends with it, and the calls in flight with that.
type life struct {
	started time.Time
	ctx     context.Context
	end     context.CancelFunc
}

func newLife(started time.Time) *life {
	ctx, end := context.WithCancel(context.Background())
	return &life{started, ctx, end}
}

// NewFollower returns a Follower. Don't forget to Run it.
func NewFollower(cfg Config) (*Follower, error) {
	client, err := NewClient(cfg.Address)
	if err != nil {
		return nil, err
	}
	if cfg.Interval <= 0 {
		cfg.Interval = time.Second
	}
	if cfg.PeersEvery <= 0 {
		cfg.PeersEvery = 30 * time.Second
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = callTimeout
	}
	if cfg.ConsensusEvery == 0 {
		cfg.ConsensusEvery = consensusEvery
	}
	if cfg.Downtime <= 0 {
		cfg.Downtime = time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = log.NewNopLogger()
	}
	f := &Follower{
		cfg:    cfg,
		client: client,
		kick:   make(chan struct{}, 1),
		waits:  make(chan *wait),
		told:   make(map[string]bool),
	}
	f.life.Store(newLife(time.Time{}))
	f.current = f.life.Load()
	f.facts.Store(&Facts{})
	f.watcher = newWatcher(f)
	return f, nil
}

// Facts returns what is known now. It never blocks.
func (f *Follower) Facts() Facts {
	known, l := *f.facts.Load(), f.life.Load()
	if !known.Started.Equal(l.started) { // Run has not come round to the new life yet
		return known.forgotten(l.started)
	}
	return known
}

// Client returns the connection, for questions beyond health.
func (f *Follower) Client() *Client { return f.client }

// NodeStarted tells that a new node process runs since at. It never blocks.
func (f *Follower) NodeStarted(at time.Time) { f.turn(newLife(at)) }

// NodeStopped tells that the node process is gone. It never blocks.
func (f *Follower) NodeStopped() { f.turn(newLife(time.Time{})) }

func (f *Follower) turn(l *life) {
	f.life.Swap(l).end()
	select {
	case f.kick <- struct{}{}:
	default: // one kick is enough: Run takes the newest life
	}
	f.watcher.wake()
}

// Run follows the node until ctx is done.
func (f *Follower) Run(ctx context.Context) error {
	defer f.client.Close()
	defer f.save()
	f.restore()
	f.publish()
	watched := make(chan struct{})
	go func() { // joined before Run returns
		defer close(watched)
		f.watcher.run(ctx)
	}()
	defer func() { <-watched }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.kick:
			f.begin(f.life.Load())
		case w := <-f.waits:
			f.waiting = append(f.waiting, w)
		case h := <-f.heads:
			f.hear(h)
		case <-f.lost:
			f.unsubscribe()
		case <-timer.C:
			if f.due() <= 0 {
				f.poll(ctx)
			}
		}
		f.answer()
		if f.dirty && time.Since(f.saved) > saveEvery {
			f.save()
		}
		timer.Reset(f.due())
	}
}

// begin forgets what the last process said.
func (f *Follower) begin(l *life) {
	f.current = l
	f.identified, f.silent = false, false
	f.offers = make(map[string]bool)
	f.polled, f.peersDue = time.Time{}, time.Time{}
	f.unsubscribe()
	f.known = f.known.forgotten(l.started)
	f.publish()
	if l.started.IsZero() {
		f.save()
	}
}

// unsubscribe falls back to polls; the next one subscribes again. The whole
// connection goes, since a subscription is rarely lost alone.
func (f *Follower) unsubscribe() {
	f.heads, f.lost = nil, nil
	f.client.Close()
}

// publish makes known what is known.
func (f *Follower) publish() {
	f.known.Calls, f.known.Errors = f.client.Counts()
	facts := f.known
	if before := f.facts.Swap(&facts); before.FirstAnswer.IsZero() && !facts.FirstAnswer.IsZero() {
		f.watcher.wake() // it asks nobody who does not answer yet
	}
	if f.cfg.OnFacts != nil {
		f.cfg.OnFacts(facts)
	}
}

// due returns how long to wait for the next poll.
func (f *Follower) due() time.Duration {
	if f.current.started.IsZero() {
		return time.Hour // until the kick
	}
	if f.polled.IsZero() {
		return 0
	}
	due := time.Until(f.polled.Add(f.pause()))
	if f.known.Failed == 0 && f.identified {
		due = min(due, time.Until(f.peersDue))
	}
	return max(due, 0)
}

// pause returns the present distance of polls.
func (f *Follower) pause() time.Duration {
	every := f.cfg.Interval
	switch {
	case f.known.Failed > 0 && !f.known.FirstAnswer.IsZero():
		// It answered and stopped. Not above 5s, so that it is soon noticed back.
		return min(every<<min(f.known.Failed-1, 8), max(every, 5*time.Second))
	case f.known.Failed > 0 && time.Since(f.current.started) < time.Minute:
		return min(every, nearInterval) // it is starting, and somebody waits for it to be ready
	case f.known.Failed > 0:
		return every // it repairs its database, or will never open RPC
	case f.near():
		return min(every, nearInterval)
	case f.heads != nil:
		return 5 * every // a heartbeat: a chain that stands still sends nothing
	}
	return every
}

// hear takes a head from the subscription.
func (f *Follower) hear(h header) {
	f.client.heard()
	now := time.Now()
	if err := h.check(); err != nil {
		level.Warn(f.cfg.Logger).Log("msg", "head not understood; polling instead", "err", err)
		f.offers["eth_subscribe"] = false
		f.unsubscribe()
		return
	}
	f.polled = now
	f.known.LastAnswer, f.known.Failed, f.known.Err = now, 0, ""
	f.take(h.head(now))
	f.publish()
}

// take makes h the head.
func (f *Follower) take(h Head) {
	last := f.known.Head
	if h.Hash == last.Hash {
		f.known.HeadKnown = true
		return
	}
	if last.Known() && h.Number < last.Number && !f.known.HeadKnown {
		// Nodes killed in the middle of things do that.
		level.Warn(f.cfg.Logger).Log("msg", "head went back over the restart", "height", h.Number, "was", last.Number)
	}
	f.known.Head, f.known.HeadKnown = h, true
	f.dirty = true
	if f.cfg.OnHead != nil {
		f.cfg.OnHead(h)
	}
}
