package chain

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"
)

const (
	consensusEvery = 3 * time.Second        // between questions of a validator
	outsiderEvery  = 15 * time.Second       // of a node that takes no part
	urgentEvery    = 500 * time.Millisecond // while somebody waits to stop the node
	meetEvery      = time.Minute            // between looks for a better address
	maxSockets     = 4                      // IPC sockets tried
)

// watcher asks how the network agrees. It has a goroutine and connections of its
// own: an answer that takes long holds up no head.
//
// The questions are wanted of namespaces that nodes often offer over IPC alone;
// meet finds an address that has them.
type watcher struct {
	cfg    Config
	facts  func() Facts
	life   func() *life
	stir   chan struct{} // there is another life, or somebody waits
	urgent atomic.Int32  // how many wait
	view   atomic.Pointer[Consensus]

	// The rest belongs to run.
	known         Consensus
	current       *life
	client        *Client // nil: not met
	address       string  // that of client
	complete      bool    // client has all namespaces we want
	self          string
	config        nodeConfig
	refused       map[string]bool // methods this process does not have
	said          bool            // logged what there is to see
	polled, met   time.Time
	settled       time.Time // when the chain's rules were asked for
	failed        int       // polls in a row without an answer
	calls, errors uint64    // of clients that are closed
	memory
}

func newWatcher(f *Follower) *watcher {
	w := &watcher{
		cfg: f.cfg, facts: f.Facts, life: f.life.Load,
		stir:   make(chan struct{}, 1),
		memory: newMemory(),
	}
	w.view.Store(&Consensus{})
	return w
}

// Consensus returns what is known now of how the network agrees. It never
// blocks.
func (f *Follower) Consensus() Consensus {
	c, l := *f.watcher.view.Load(), f.life.Load()
	if !c.Started.Equal(l.started) { // the watcher has not come round to the new life yet
		return beginning(l, c)
	}
	return c
}

// beginning is what is known when a life begins: it has answered nothing yet.
func beginning(l *life, last Consensus) Consensus {
	return Consensus{Started: l.started, Silent: l.started, Calls: last.Calls, Errors: last.Errors}
}

// hurry has questions asked more often, until the returned function is called.
func (w *watcher) hurry() func() {
	w.urgent.Add(1)
	w.wake()
	return func() { w.urgent.Add(-1) }
}

func (w *watcher) wake() {
	select {
	case w.stir <- struct{}{}:
	default: // one is enough: run looks at everything
	}
}

// run watches until ctx is done.
func (w *watcher) run(ctx context.Context) {
	defer w.leave()
	w.begin(w.life())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.stir:
		case <-timer.C:
		}
		if l := w.life(); l != w.current {
			w.begin(l)
		}
		if w.due() <= 0 {
			w.poll(ctx)
		}
		timer.Reset(w.due())
	}
}

// begin forgets what the last process said. Who sealed before is remembered:
// that is of the chain.
func (w *watcher) begin(l *life) {
	w.current = l
	w.leave()
	w.refused, w.said = make(map[string]bool), false
	w.polled, w.met, w.failed = time.Time{}, time.Time{}, 0
	w.known = beginning(l, w.known)
	w.publish()
}

// leave gives up the connection.
func (w *watcher) leave() {
	w.swap(nil, false)
	w.self, w.config, w.settled = "", nodeConfig{}, time.Time{}
}

func (w *watcher) swap(c *Client, complete bool) {
	if w.client != nil {
		calls, errors := w.client.Counts()
		w.calls, w.errors = w.calls+calls, w.errors+errors
		w.client.Close()
	}
	w.client, w.complete = c, complete
}

func (w *watcher) publish() {
	w.known.Calls, w.known.Errors = w.calls, w.errors
	if w.client != nil {
		calls, errors := w.client.Counts()
		w.known.Calls, w.known.Errors = w.known.Calls+calls, w.known.Errors+errors
	}
	view := w.known
	w.view.Store(&view)
	if w.cfg.OnConsensus != nil {
		w.cfg.OnConsensus(view)
	}
}

// due returns how long to wait for the next poll.
func (w *watcher) due() time.Duration {
	switch {
	case w.cfg.ConsensusEvery < 0, w.current.started.IsZero():
		return time.Hour
	case w.facts().FirstAnswer.IsZero():
		return urgentEvery // the follower asks already whether it answers
	case w.polled.IsZero():
		return 0
	}
	every := w.cfg.ConsensusEvery
	switch {
	case w.failed > 0:
		every = min(every<<min(w.failed-1, 4), max(every, outsiderEvery))
	case w.known.Kind == "":
		every = meetEvery
	case !w.known.IsValidator():
		every = max(every, outsiderEvery)
	}
	if w.urgent.Load() > 0 && w.known.Kind != "" {
		every = min(every, urgentEvery<<min(w.failed, 2))
	}
	return max(time.Until(w.polled.Add(every)), 0)
}

// poll questions the node once. What it answers is taken only if it is still
// the process that was asked.
func (w *watcher) poll(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx) // each message has its own time
	defer cancel()
	defer context.AfterFunc(w.current.ctx, cancel)()

	asked := time.Now()
	next, err := w.ask(ctx)
	if ctx.Err() != nil {
		return // the process is gone, or we are
	}
	w.polled = time.Now()
	var silence *silenceError
	switch {
	case errors.As(err, &silence):
		w.failed++
		w.known.Err = oneLine(err)
		if w.known.Silent.IsZero() {
			w.known.Silent = asked
		}
		if w.failed > 1 { // another address may answer
			w.swap(nil, false)
		}
	case err != nil: // it answers, not what we hoped for
		w.failed++
		w.known.Err, w.known.Silent = oneLine(err), time.Time{}
	default:
		w.failed = 0
		next.Started, next.Known, next.Asked = w.current.started, true, asked
		w.known = next
		w.tell()
	}
	w.publish()
}

// tell logs once per process what there is to see.
func (w *watcher) tell() {
	if w.said || w.known.Kind == "" && w.known.Err == "" {
		return
	}
	w.said = true
	if w.known.Kind == "" {
		level.Warn(w.cfg.Logger).Log("msg", "consensus not visible; going without", "err", w.known.Err)
		return
	}
	level.Info(w.cfg.Logger).Log("msg", "consensus visible", "address", w.address, "kind", w.known.Kind,
		"validators", len(w.known.Validators), "quorum", w.known.Quorum, "self", w.known.Self, "validator", w.known.IsValidator())
}

// ask asks for everything that is due.
func (w *watcher) ask(ctx context.Context) (Consensus, error) {
	if w.client == nil || !w.complete && time.Since(w.met) > meetEvery {
		if err := w.meet(ctx); err != nil {
			return Consensus{}, err
		}
	}
	if w.config.forks == nil && time.Since(w.settled) > meetEvery {
		if err := w.settle(ctx); err != nil {
			return Consensus{}, err
		}
	}
	c := Consensus{
		Kind: w.known.Kind, Self: w.self,
		BlockPeriod: w.config.period, EpochLength: w.config.epoch, Forks: w.config.forks,
	}
	if c.Kind == "" {
		c.Err = w.known.Err
		return c, nil
	}
	head, err := w.head(ctx)
	if err != nil {
		return Consensus{}, err
	}
	if head.Hash == w.known.Head.Hash && c.Kind != Wemix && w.known.Err == "" {
		return w.known, nil // nothing of it has changed but the moment
	}
	c.Head = head.head(time.Now())
	if c.Head.Number < w.known.Head.Number {
		w.forget(c.Head.Number)
	}
	switch c.Kind {
	case WBFT, QBFT:
		err = w.istanbul(ctx, head, &c)
	case Clique:
		err = w.clique(ctx, head, &c)
	case Wemix:
		err = w.wemix(ctx, head, &c)
	}
	return c, err
}
