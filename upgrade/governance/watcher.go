package governance

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	kitlog "github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/probe/chain"
	"github.com/wemix/wemixvisor/upgrade"
)

// Config is what a Watcher needs. Zero values mean what is written beside them.
type Config struct {
	Source        string // SourceWemix or SourceContract
	Address       string // of go-wemix's registry (empty: as the node says), or of the contract
	Event         string // of SourceContract; DefaultEvent
	Confirmations uint64 // blocks on top of the one a ballot was finalised in; may be 0

	RPC      string        // the node's address
	IPC      string        // optional glob of its IPC socket, asked where RPC does not offer what it takes
	Interval time.Duration // between looks; 5s

	Home   upgrade.Home
	Facts  func() chain.Facts
	Logger kitlog.Logger

	// OnEvent sees each stage of each proposal; it must not block.
	OnEvent func(Event)
}

const (
	lookBack = 1_000_000 // blocks, at the first start: eleven days at one a second
	maxSpan  = 2_000     // blocks asked for at once
	slowest  = time.Minute
)

// Watcher follows the ballots of a contract and files the plans of those that
// pass. See the package's documentation for its rules.
type Watcher struct {
	cfg    Config
	source source
	status atomic.Pointer[Status]

	// The rest belongs to Run.
	client   client // nil inside: not met
	contract string
	met      time.Time
	refused  time.Time // start of the process that does not offer the methods
	failed   int       // looks in a row that failed
	silent   bool      // that was logged
	span     uint64
	head     uint64
	state    *state
	ahead    []Proposal           // of blocks without enough confirmations yet
	told     map[[2]string]string // by id and stage: the block of the event that was told
}

// New returns a Watcher. Don't forget to Run it.
func New(cfg Config) *Watcher {
	if cfg.Interval <= 0 {
		cfg.Interval = 5 * time.Second
	}
	if cfg.Event == "" {
		cfg.Event = DefaultEvent
	}
	if cfg.Logger == nil {
		cfg.Logger = kitlog.NewNopLogger()
	}
	w := &Watcher{cfg: cfg, source: sourceOf(cfg.Source, cfg.Event), span: maxSpan, told: map[[2]string]string{}}
	w.publish(Waiting, "for the node")
	return w
}

// Status returns what is known now. It never blocks.
func (w *Watcher) Status() Status { return *w.status.Load() }

// Run watches until ctx is done.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.leave()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		w.look(ctx)
		timer.Reset(min(w.cfg.Interval<<min(w.failed, 4), max(slowest, w.cfg.Interval)))
	}
}

// look polls once, if there is a node to ask.
func (w *Watcher) look(ctx context.Context) {
	f := w.cfg.Facts()
	switch {
	case f.Started.IsZero() || f.FirstAnswer.IsZero():
		w.leave() // the next process may offer other things
		w.failed = 0
		w.publish(Waiting, "for the node")
		return
	case f.Started.Equal(w.refused):
		return
	}
	err := w.poll(ctx, f)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		if w.silent {
			level.Info(w.cfg.Logger).Log("msg", "governance visible again")
		}
		w.failed, w.silent = 0, false
		w.publish(Following, "")
	case errors.Is(err, chain.ErrNoMethod):
		w.leave()
		w.refused, w.silent, w.failed = f.Started, false, 0
		level.Warn(w.cfg.Logger).Log("msg", "node does not offer what governance needs; going without until it is restarted", "err", err)
		w.publish(NotOffered, reason(err))
	default:
		if w.failed++; w.failed > 1 { // once is no news on a busy node
			w.leave()
			if !w.silent {
				level.Warn(w.cfg.Logger).Log("msg", "governance not visible; trying on", "err", reason(err))
			}
			w.silent = true
		}
		w.publish(Unavailable, reason(err))
	}
}

// leave forgets what only this connection has told.
func (w *Watcher) leave() {
	w.hangUp()
	w.ahead = nil
}

func (w *Watcher) hangUp() {
	if w.client.Client != nil {
		w.client.Close()
	}
	w.client = client{}
}

// publish makes known what is known.
func (w *Watcher) publish(state, why string) {
	s := Status{
		State: state, Reason: why, Source: w.cfg.Source, Contract: w.contract,
		Confirmations: w.cfg.Confirmations, Head: w.head, Proposals: slices.Clone(w.ahead),
	}
	if w.state != nil {
		if w.state.Next > w.state.First {
			s.Scanned = w.state.Next - 1
		}
		for _, p := range w.state.Proposals {
			if find(w.ahead, p.ID) == nil {
				s.Proposals = append(s.Proposals, p)
			}
		}
	}
	for i := range s.Proposals {
		p := &s.Proposals[i]
		if p.Block > 0 && w.head > p.Block {
			p.Confirmations = w.head - p.Block
		}
		if p.Plan != nil { // nobody shares ours
			plan := *p.Plan
			p.Plan = &plan
		}
	}
	if s.Proposals == nil {
		s.Proposals = []Proposal{} // null is no list
	}
	slices.SortFunc(s.Proposals, newest)
	w.status.Store(&s)
}

// tell tells of a stage, once for each block that says so.
func (w *Watcher) tell(p Proposal) {
	key := [2]string{p.ID, string(p.Stage)}
	if at, told := w.told[key]; told && at == p.BlockHash {
		return
	}
	if len(w.told) > 8*maxProposals { // told twice is better than kept for ever
		clear(w.told)
	}
	w.told[key] = p.BlockHash
	e := Event{Proposal: p.ID, Stage: p.Stage, Reason: p.Reason, At: time.Now().UTC()}
	line := []any{"msg", "governance proposal", "proposal", p.ID, "stage", p.Stage}
	if p.Plan != nil {
		e.Name, e.Height = p.Plan.Name, p.Plan.Height
		line = append(line, "plan", e.Name, "height", e.Height)
	}
	if p.Reason != "" {
		line = append(line, "why", p.Reason)
	}
	logger := level.Info(w.cfg.Logger)
	if p.Stage == Ignored || p.Stage == Withdrawn {
		logger = level.Warn(w.cfg.Logger)
	}
	logger.Log(line...)
	if w.cfg.OnEvent != nil {
		w.cfg.OnEvent(e)
	}
}

// reason makes one short line of an error, of which a node wrote a part.
func reason(err error) string { return shown([]byte(err.Error())) }
