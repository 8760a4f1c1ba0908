package governance

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/probe/chain"
)

const (
	meetEvery  = 10 * time.Minute // a contract may be replaced
	maxSockets = 4                // tried
)

// meet finds out where the node tells what it takes, and of which contract.
func (w *Watcher) meet(ctx context.Context, f chain.Facts) error {
	addresses := []string{w.cfg.RPC}
	if w.cfg.IPC != "" {
		if sockets, err := filepath.Glob(w.cfg.IPC); err == nil {
			addresses = append(addresses, sockets[:min(len(sockets), maxSockets)]...)
		}
	}
	var first error
	for i, address := range addresses {
		contract, c, err := w.try(ctx, address, i > 0, f)
		if err == nil {
			if w.contract != contract {
				level.Info(w.cfg.Logger).Log("msg", "following governance", "source", w.cfg.Source, "contract", contract,
					"confirmations", w.cfg.Confirmations, "address", chain.Redacted(address))
			}
			w.hangUp()
			w.client, w.contract, w.met = c, contract, time.Now()
			return nil
		}
		// That a method is missing here says nothing about what is wrong there.
		if first == nil || errors.Is(first, chain.ErrNoMethod) {
			first = err
		}
	}
	return first
}

// try asks one address for the contract.
func (w *Watcher) try(ctx context.Context, address string, stranger bool, f chain.Facts) (string, client, error) {
	c, err := chain.NewClient(address)
	if err != nil {
		return "", client{}, err
	}
	if stranger { // the socket may be another node's
		who, err := chain.Ask(ctx, address)
		if err == nil && (who.ChainID != f.ChainID || who.Genesis != f.Genesis || who.Client != f.Client || who.Version != f.Version) {
			err = fmt.Errorf("%s is another node's", address)
		}
		if err != nil {
			return "", client{}, err
		}
	}
	contract, err := w.source.resolve(ctx, client{c}, w.cfg.Address)
	if err != nil {
		c.Close()
	}
	return contract, client{c}, err
}

// restore reads what was known of this chain, or begins anew.
func (w *Watcher) restore(f chain.Facts) error {
	if w.state == nil {
		s, err := load(stateFile(w.cfg.Home))
		if err != nil { // a memory, not a truth; and the plans in the queue are safe
			level.Warn(w.cfg.Logger).Log("msg", "what was known of governance is lost; looking back", "err", err)
		}
		w.state = s
		if s != nil {
			for _, p := range s.Proposals { // a restart is no news
				w.told[[2]string{p.ID, string(p.Stage)}] = p.BlockHash
			}
		}
	}
	s := w.state
	if s == nil || s.Source != w.cfg.Source || s.Address != w.cfg.Address || s.Event != w.cfg.Event ||
		s.ChainID != f.ChainID || s.Genesis != f.Genesis {
		if s != nil {
			level.Warn(w.cfg.Logger).Log("msg", "other chain or source of governance; beginning anew", "source", w.cfg.Source)
		}
		w.state = &state{
			Schema: schema, Source: w.cfg.Source, Address: w.cfg.Address, Event: w.cfg.Event, ChainID: f.ChainID, Genesis: f.Genesis,
			Checked: []block{}, Proposals: []Proposal{},
		}
	}
	return nil
}
