package chain

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/go-kit/log/level"
)

// poll questions the node once. What it answers is taken only if it is still
// the process that was asked.
func (f *Follower) poll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(f.current.ctx, cancel)()

	err := f.ask(ctx)
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the process is gone, or we are
	}
	f.polled = time.Now()
	if err != nil {
		f.unanswered(err)
	}
	f.publish()
}

// ask asks for everything that is due.
func (f *Follower) ask(ctx context.Context) error {
	// Asked again while the process lives, too: the address may lead to another
	// node than it did, behind a proxy or on a port that somebody took over.
	if !f.identified || time.Since(f.met) >= f.cfg.PeersEvery && !time.Now().Before(f.peersDue) {
		id, err := identify(ctx, f.client)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.met = time.Now()
		if !f.identified || id.differs(f.known) != "" {
			f.meet(id)
		}
	}
	if f.heads == nil && f.client.Streams() && f.offered("eth_subscribe") {
		// Before the head is asked for, so that none falls between the two.
		heads, lost, err := f.client.subscribeHeads(ctx)
		switch {
		case errors.Is(err, ErrNoMethod):
			f.refused("eth_subscribe")
		case err != nil:
			return err
		default:
			f.heads, f.lost = heads, lost
		}
	}
	return f.question(ctx)
}

// question sends one batch: the head always, peers when it is time.
func (f *Follower) question(ctx context.Context) error {
	var (
		head      header
		peers     hexutil.Uint64
		listening bool
		sync      json.RawMessage
		others    json.RawMessage
		reqs      []Request
		// Each answer is taken by its own function, so that a node may refuse one
		// and answer the rest.
		taken []func()
	)
	add := func(method string, result any, take func(), args ...any) {
		if f.offered(method) {
			reqs = append(reqs, Request{Method: method, Args: args, Result: result})
			taken = append(taken, take)
		}
	}
	now := time.Now()
	takeHead := func() {
		if err := head.check(); err != nil {
			f.known.Err = oneLine(err)
			return
		}
		f.take(head.head(time.Now()))
	}
	if f.offered("eth_getHeaderByNumber") { // a block lists thousands of transactions, its header none
		add("eth_getHeaderByNumber", &head, takeHead, "latest")
	} else {
		add("eth_getBlockByNumber", &head, takeHead, "latest", false)
	}
	highest, asksPeers := uint64(0), !now.Before(f.peersDue)
	add("eth_syncing", &sync, func() { f.known.Syncing, highest = syncing(sync) })
	if asksPeers {
		add("net_peerCount", &peers, func() { f.known.Peers, f.known.PeersKnown = int(min(peers, 1<<20)), true })
		add("net_listening", &listening, func() { f.known.Listening = listening })
		if f.known.Kind == Wemix {
			add("admin_wemixNodes", &others, func() {}, "", 0)
		} else {
			add("admin_peers", &others, func() {})
		}
	}
	if len(reqs) == 0 { // a sign of life at least
		var name string
		reqs = append(reqs, Request{Method: "web3_clientVersion", Result: &name})
		taken = append(taken, func() {})
	}
	if err := f.client.Batch(ctx, reqs); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.answered(time.Now(), time.Since(now))
	again := false
	for i, r := range reqs {
		switch {
		case r.Err == nil:
			taken[i]()
		case errors.Is(r.Err, ErrNoMethod):
			f.refused(r.Method)
			again = again || r.Method == "eth_getHeaderByNumber"
		default:
			f.known.Err = oneLine(r.Err)
		}
	}
	if asksPeers {
		f.peersAsked(now)
		if theirs := best(f.known.Kind, others); theirs > 0 {
			highest = max(highest, theirs)
		}
	} else if highest == 0 {
		highest = f.known.Highest
	}
	f.known.Highest = highest
	if !f.offered("eth_getBlockByNumber") {
		f.known.Err = "the eth namespace is not offered at this address"
	}
	if again {
		return f.question(ctx)
	}
	return nil
}

// peersAsked sets when to ask again: sooner while the node is young or alone,
// since somebody may wait for its first peer.
func (f *Follower) peersAsked(now time.Time) {
	every := f.cfg.PeersEvery
	if f.known.Peers == 0 || now.Sub(f.known.FirstAnswer) < time.Minute {
		every = min(every, 5*f.cfg.Interval)
	}
	f.peersDue = now.Add(every)
}

// meet takes the identity of a node process.
func (f *Follower) meet(id identity) {
	f.identified = true
	if !id.offers("admin") {
		f.offers["admin_peers"], f.offers["admin_wemixNodes"] = false, false
	}
	if id.differs(f.known) != "" {
		f.known.Head = Head{} // heights of two chains don't compare
	}
	f.compare(id)
	f.known.Client, f.known.Version, f.known.Kind = id.client, id.version, id.kind
	if id.chainID != 0 {
		f.known.ChainID = id.chainID
	}
	if id.genesis != "" {
		f.known.Genesis = id.genesis
	}
	f.dirty = true
	level.Info(f.cfg.Logger).Log("msg", "node answers", "address", Redacted(f.cfg.Address), "client", id.client,
		"version", id.version, "kind", id.kind, "chain_id", id.chainID)
}

// compare raises the alarm when the chain is not the one that was known first,
// and ends it when it is that again. Not the one known last: a node that is
// restarted on the wrong chain is still on the wrong chain.
func (f *Follower) compare(id identity) {
	what := id.differs(f.expected)
	switch {
	case what != "":
		level.Error(f.cfg.Logger).Log("msg", "the node is on another chain than before", "what", what)
	case f.alarmed:
		level.Info(f.cfg.Logger).Log("msg", "the node is on its old chain again")
	}
	if f.cfg.OnAlarm != nil && (what != "" || f.alarmed) {
		f.cfg.OnAlarm(what)
	}
	f.alarmed = what != ""
	f.expected.ChainID = cmp.Or(f.expected.ChainID, id.chainID)
	f.expected.Genesis = cmp.Or(f.expected.Genesis, id.genesis)
}

func (f *Follower) answered(now time.Time, took time.Duration) {
	if f.silent {
		level.Info(f.cfg.Logger).Log("msg", "node answers again", "address", Redacted(f.cfg.Address))
		f.silent = false
	}
	f.alive(now)
	f.known.Latency, f.known.Failed, f.known.Err = took, 0, ""
}

func (f *Follower) alive(now time.Time) {
	f.known.LastAnswer = now
	if f.known.FirstAnswer.IsZero() {
		f.known.FirstAnswer = now
	}
}

// unanswered notes a silence, and looks for life elsewhere: a node whose HTTP
// is exhausted or was never opened is not dead while its IPC answers.
func (f *Follower) unanswered(err error) {
	f.unsubscribe()
	f.known.Failed++
	f.known.Err = oneLine(err)
	if f.known.Failed == 2 && !f.known.FirstAnswer.IsZero() && !f.silent { // once is no news on a busy node
		f.silent = true
		level.Warn(f.cfg.Logger).Log("msg", "node does not answer; asking on", "address", Redacted(f.cfg.Address), "err", f.known.Err)
	}
	if f.cfg.IPC == "" {
		return
	}
	sockets, err := filepath.Glob(f.cfg.IPC)
	if err != nil || len(sockets) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(f.current.ctx, 2*time.Second)
	defer cancel()
	if err := signOfLife(ctx, sockets[0]); err == nil {
		f.alive(time.Now())
	}
}

func signOfLife(ctx context.Context, socket string) error {
	c, err := NewClient(socket)
	if err != nil {
		return err
	}
	defer c.Close()
	var name string
	if err := c.Call(ctx, &name, "web3_clientVersion"); err != nil {
		return fmt.Errorf("ask over %s: %w", socket, err)
	}
	return nil
}

func (f *Follower) offered(method string) bool {
	offers, said := f.offers[method]
	return offers || !said
}

// refused switches a method off for this process.
func (f *Follower) refused(method string) {
	f.offers[method] = false
	if !f.told[method] {
		f.told[method] = true
		level.Info(f.cfg.Logger).Log("msg", "node does not offer a method; going without", "method", method, "address", Redacted(f.cfg.Address))
	}
}
