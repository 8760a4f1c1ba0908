package chain

import (
	"context"
	"fmt"
	"strings"
)

// clique asks a geth node that seals by proof of authority.
func (w *watcher) clique(ctx context.Context, head sealedHeader, c *Consensus) error {
	const list, who, coinbase = "clique_getSigners", "clique_getSigner", "eth_coinbase"
	var (
		answer rawAnswer
		self   string
		asked  *batch
	)
	set, err := w.validators(ctx, list, head, c, func(b *batch, n int) {
		if !w.looked {
			b.add("clique_status", &answer, func() {})
		}
		b.add(coinbase, &self, func() {}) // it may be changed while the node runs
		asked = b
		b.addBlocks(head, n, who)
	})
	if err != nil {
		return err
	}
	if set == nil {
		w.off(c, list)
		return nil
	}
	if w.refused[who] { // no header says it either: nobody could tell who seals
		w.off(c, who)
		return nil
	}
	var ok bool
	w.self, ok = address(self)
	switch err := asked.errOf(coinbase); {
	case ok:
	case w.refused[coinbase]:
		c.Err = "the node does not tell which signer it is"
	case err != nil && strings.Contains(err.Error(), "etherbase"): // must be explicitly specified: it seals nothing
	case err != nil:
		return err
	default:
		return fmt.Errorf("%s: no address", coinbase)
	}
	c.Self = w.self
	if !w.looked {
		w.before(c.Head.Number, len(set), readStatus(answer).count)
	}
	w.judge(c, set, nil)
	c.Window = len(w.blocks)
	return nil
}
