package chain

import "context"

// clique asks a geth node that seals by proof of authority.
func (w *watcher) clique(ctx context.Context, head sealedHeader, c *Consensus) error {
	const list, coinbase = "clique_getSigners", "eth_coinbase"
	var (
		answer rawAnswer
		self   string
		told   bool
	)
	set, err := w.validators(ctx, list, head, c, func(b *batch, n int) {
		if !w.looked {
			b.add("clique_status", &answer, func() {})
		}
		// The account it seals with may be changed while it runs. A node that has
		// none says so with an error.
		b.add(coinbase, &self, func() { told = true })
		b.addBlocks(head, n, "clique_getSigner")
	})
	if err != nil {
		return err
	}
	if set == nil {
		w.off(c, list)
		return nil
	}
	w.self = ""
	if told {
		w.self, _ = address(self)
	}
	if w.refused[coinbase] {
		c.Err = "the node does not tell which signer it is"
	}
	c.Self = w.self
	if !w.looked {
		w.before(c.Head.Number, len(set), readStatus(answer).count)
	}
	w.judge(c, set, nil)
	c.Window = len(w.blocks)
	return nil
}
