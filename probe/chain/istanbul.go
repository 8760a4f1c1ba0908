package chain

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

// istanbul asks a WBFT or QBFT node. Heights are always told in hex: not all of
// these nodes understand "latest", and the answers should be of one block.
func (w *watcher) istanbul(ctx context.Context, head sealedHeader, c *Consensus) error {
	const list, status, own = "istanbul_getValidators", "istanbul_status", "istanbul_nodeAddress"
	if w.self == "" { // that of its key: the same while it runs
		var self string
		b := w.batch()
		b.add(own, &self, func() { w.self, _ = address(self) })
		if err := b.send(ctx); err != nil {
			return err
		}
		switch {
		case w.refused[own]:
			c.Err = "the node does not tell which validator it is"
		case b.err != nil:
			return b.err
		case w.self == "":
			return fmt.Errorf("%s: no address", own)
		}
		c.Self = w.self
	}
	height := uint64(head.Number)
	var short, long sealers
	addStatus := func(b *batch, n int, into *sealers) {
		oldest, newest := window(height, n)
		if c.Kind == QBFT { // leaves the end out, wbft counts it
			oldest--
		}
		if oldest == 0 || oldest > newest {
			oldest = min(1, newest)
		}
		var answer rawAnswer
		b.add(status, &answer, func() { *into = readStatus(answer) }, hexutil.EncodeUint64(oldest), hexutil.EncodeUint64(newest))
	}
	set, err := w.validators(ctx, list, head, c, func(b *batch, n int) {
		if height > 0 {
			addStatus(b, n, &short)
			if !w.looked {
				addStatus(b, lookBack, &long)
			}
		}
		signersOf := ""
		switch {
		case c.Kind == QBFT:
			signersOf = "istanbul_getSignersFromBlock"
		case w.refused[status]:
			signersOf = "istanbul_getCommitSignersFromBlock"
		}
		if w.refused[signersOf] {
			signersOf = ""
		}
		b.addBlocks(head, n, signersOf)
	})
	if err != nil {
		return err
	}
	if set == nil {
		w.off(c, list)
		return nil
	}
	if !w.looked {
		w.before(height, len(set), long.count)
	}
	w.judge(c, set, short.count)
	c.Window, c.Late, c.MaxRound = short.window, short.late, short.maxRound
	if c.Kind == QBFT {
		c.Window, c.Late, c.MaxRound = w.rounds()
	}
	return nil
}

// off is a node that turned out to have nothing to tell. That it has not that
// method was logged when it said so.
func (w *watcher) off(c *Consensus, method string) {
	w.said = true
	*c = Consensus{
		Head: c.Head, Self: c.Self, BlockPeriod: c.BlockPeriod, EpochLength: c.EpochLength, Forks: c.Forks,
		Err: fmt.Sprintf("the node does not offer %s", method),
	}
}

// rounds counts the blocks remembered that took more than one.
func (m *memory) rounds() (window, late int, highest uint64) {
	for _, s := range m.blocks {
		window++
		highest = max(highest, s.round)
		if s.round > 0 {
			late++
		}
	}
	return window, late, highest
}

// sealers is what istanbul_status and clique_status tell of some blocks.
type sealers struct {
	count    map[string]int // by address: what it sealed
	window   int            // blocks, and those with more than one round
	late     int
	maxRound uint64
}

// readStatus reads either shape: wbft tells who prepared and committed each
// block and the one before, and how many rounds they took; the others only how
// many blocks each validator made.
//
// What counts in wbft's is prevCommitted: a block's own seals are no more than a
// quorum, those of the block before were collected until nobody was late.
func readStatus(answer json.RawMessage) sealers {
	var told struct {
		Activity map[string]json.RawMessage `json:"sealerActivity"`
		Author   map[string]int             `json:"author"`
		Rounds   struct {
			Distribution map[string]int `json:"roundDistribution"`
		} `json:"roundStats"`
		Blocks int `json:"numBlocks"`
		Range  struct {
			Total int `json:"totalBlocks"`
		} `json:"blockRange"`
	}
	s := sealers{count: make(map[string]int)}
	if json.Unmarshal(answer, &told) != nil || len(told.Activity) > maxValidators || len(told.Author) > maxValidators {
		return s
	}
	s.window = max(told.Blocks, told.Range.Total)
	add := func(who string, n int) {
		if a, ok := address(who); ok && n > 0 {
			s.count[a] = max(s.count[a], n)
		}
	}
	var committed map[string]int
	if json.Unmarshal(told.Activity["prevCommitted"], &committed) == nil && len(committed) <= maxValidators {
		for who, n := range committed {
			add(who, n)
		}
	}
	for who, raw := range told.Activity {
		var n int
		if json.Unmarshal(raw, &n) == nil {
			add(who, n)
		}
	}
	for who, n := range told.Author {
		add(who, n)
	}
	for round, n := range told.Rounds.Distribution {
		var r uint64
		if _, err := fmt.Sscanf(round, "%d", &r); err == nil && r > 0 && n > 0 {
			s.late += n
			s.maxRound = max(s.maxRound, r)
		}
	}
	return s
}
