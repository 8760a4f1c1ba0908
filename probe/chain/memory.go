package chain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

const (
	// maxValidators bounds what one list of them may be.
	maxValidators = 1024
	// maxBlocks bounds how many blocks one message asks about.
	maxBlocks = 128
	// lookBack is how many blocks are looked at first for who sealed before we
	// came, and is gone since. It is what the nodes' own status looks at.
	lookBack = 64
)

// memory is what the watcher keeps of a chain from one poll to the next: the
// newest blocks, and when each validator was seen last.
type memory struct {
	genesis string
	n       int                // validators there were last
	looked  bool               // back, at who sealed before
	blocks  map[uint64]*sealed // by height
	seen    map[string]uint64  // by address: the height up to which it was active
	version map[string]string  // by address: of its newest block
	slot    struct {           // the validators as of the slot's first block
		first uint64
		set   []string
	}
}

// sealed is what one block tells of validators.
type sealed struct {
	hash, parent string
	version      string // of its proposer's binary
	proposer     string
	committers   []string
	round        uint64
}

func newMemory() memory {
	return memory{
		blocks:  make(map[uint64]*sealed),
		seen:    make(map[string]uint64),
		version: make(map[string]string),
	}
}

// forget drops what was above height: the chain went back.
func (m *memory) forget(height uint64) {
	maps.DeleteFunc(m.blocks, func(h uint64, _ *sealed) bool { return h >= height })
	for a, h := range m.seen {
		m.seen[a] = min(h, height)
	}
	m.slot.set = nil
}

// sealedHeader is a block's header with what tells who made it.
type sealedHeader struct {
	header
	Parent string        `json:"parentHash"`
	Miner  string        `json:"miner"`
	Extra  hexutil.Bytes `json:"extraData"`
}

// signers is how istanbul_getSignersFromBlock and its kin write it.
type signers struct {
	Author     string
	Committers []string
}

// addHeader asks for a header: a block lists thousands of transactions, but not
// every node has headers alone.
func (b *batch) addHeader(h *sealedHeader, take func(), number string) {
	if !b.w.refused["eth_getHeaderByNumber"] {
		b.add("eth_getHeaderByNumber", h, take, number)
		return
	}
	b.add("eth_getBlockByNumber", h, take, number, false)
}

// head asks for the newest block.
func (w *watcher) head(ctx context.Context) (sealedHeader, error) {
	for range 2 { // the first may find out that there are no headers alone
		var h sealedHeader
		b := w.batch()
		b.addHeader(&h, func() {}, "latest")
		if err := b.send(ctx); err != nil {
			return h, err
		}
		if b.err != nil {
			return h, b.err
		}
		if len(b.reqs) == 1 && !w.refused[b.reqs[0].Method] {
			return h, h.check()
		}
	}
	return sealedHeader{}, errors.New("the eth namespace is not offered")
}

// window is the span of the last n blocks at height; no block sealed genesis.
func window(height uint64, n int) (oldest, newest uint64) {
	oldest = 1
	if height > uint64(n) {
		oldest = height - uint64(n) + 1
	}
	return oldest, height
}

// addBlocks asks for those of the last n blocks that are not known yet. Who
// sealed one is told by the method signers, where one is given, else by the header.
func (b *batch) addBlocks(head sealedHeader, n int, signersOf string) {
	w := b.w
	oldest, newest := window(uint64(head.Number), min(n, maxBlocks))
	if s := w.blocks[newest]; s != nil && s.hash != head.Hash { // replaced at the same height
		delete(w.blocks, newest)
	}
	for height := oldest; height <= newest; height++ {
		if w.blocks[height] != nil {
			continue
		}
		s := &sealed{}
		take := func(h sealedHeader) {
			if h.check() != nil || uint64(h.Number) != height {
				return
			}
			s.hash, s.parent, s.version = h.Hash, h.Parent, vanity(h.Extra)
			if round, ok := qbftRound(h.Extra); ok && w.known.Kind == QBFT {
				s.round = round
			}
			if s.proposer == "" && signersOf != "clique_getSigner" { // there it is whom the signer votes on
				s.proposer, _ = address(h.Miner)
			}
			w.blocks[height] = s
		}
		if height == newest {
			take(head)
		} else {
			var h sealedHeader
			b.addHeader(&h, func() { take(h) }, hexutil.EncodeUint64(height))
		}
		switch signersOf {
		case "":
		case "clique_getSigner":
			var signer string
			b.add(signersOf, &signer, func() { s.proposer, _ = address(signer) }, hexutil.EncodeUint64(height))
		default:
			var who signers
			b.add(signersOf, &who, func() {
				if a, ok := address(who.Author); ok { // the miner may be whom it pays
					s.proposer = a
				}
				for _, c := range who.Committers[:min(len(who.Committers), maxValidators)] {
					if a, ok := address(c); ok {
						s.committers = append(s.committers, a)
					}
				}
			}, hexutil.EncodeUint64(height))
		}
	}
}

// sift keeps the last n blocks, and of them those that are one chain: a block
// may have been replaced since it was asked for. It will be asked for again.
func (m *memory) sift(height uint64, n int) {
	oldest, newest := window(height, n)
	maps.DeleteFunc(m.blocks, func(h uint64, s *sealed) bool {
		return h < oldest || h > newest || s.proposer == "" // who that was got no answer
	})
	for h := newest; h > oldest; h-- {
		above, below := m.blocks[h], m.blocks[h-1]
		if above != nil && below != nil && above.parent != below.hash {
			delete(m.blocks, h-1)
		}
	}
}

// validators asks for the validators as of head and as of its slot's first
// block, by method, and in the same message for what more adds for the n of them.
func (w *watcher) validators(ctx context.Context, method string, head sealedHeader, c *Consensus, more func(b *batch, n int)) ([]string, error) {
	height := uint64(head.Number)
	for range 3 { // their number is learnt first, and may be another one since
		var now, first []string
		b := w.batch()
		b.add(method, &now, func() {}, hexutil.EncodeUint64(height))
		length := slotLength(w.n, w.cfg.Downtime, c.period())
		start := height - height%length
		if w.n > 0 {
			if w.slot.first != start || w.slot.set == nil {
				b.add(method, &first, func() {}, hexutil.EncodeUint64(start))
			}
			more(b, w.n)
		}
		if err := b.send(ctx); err != nil {
			return nil, err
		}
		if w.refused[method] {
			return nil, nil
		}
		set, err := addresses(now)
		if err == nil && len(set) == 0 {
			err = b.err
			if err == nil {
				err = fmt.Errorf("%s: no validators", method)
			}
		}
		if err != nil {
			return nil, err
		}
		if len(set) != w.n {
			w.n = len(set)
			continue
		}
		if then, err := addresses(first); err == nil && len(then) > 0 {
			w.slot.first, w.slot.set = start, then
		}
		return set, nil
	}
	return nil, errors.New("the number of validators changes with each answer")
}

// addresses checks, lowers and sorts a list of them.
func addresses(list []string) ([]string, error) {
	if len(list) > maxValidators {
		return nil, fmt.Errorf("a list of %d validators; at most %d are understood", len(list), maxValidators)
	}
	set := make([]string, 0, len(list))
	for _, s := range list {
		a, ok := address(s)
		if !ok {
			return nil, fmt.Errorf("a validator that is no address: %s", oneLine(errors.New(clip(s, 64))))
		}
		set = append(set, a)
	}
	slices.Sort(set)
	return slices.Compact(set), nil
}

// judge fills in whose turn it is and who of set is active: who sealed one of the
// last blocks, by those themselves and by the node's own count.
func (w *watcher) judge(c *Consensus, set []string, count map[string]int) {
	height, n := c.Head.Number, len(set)
	w.sift(height, n)
	oldest, newest := window(height, n)
	own := make(map[string]int)
	for h := oldest; h <= newest; h++ {
		s := w.blocks[h]
		if s == nil {
			continue
		}
		// Whoever proposed it also sealed it: each block counts once for each.
		own[s.proposer]++
		for _, a := range s.committers {
			if a != s.proposer {
				own[a]++
			}
		}
		if s.version != "" {
			w.version[s.proposer] = s.version
		}
	}
	member := func(a string) bool { _, ok := slices.BinarySearch(set, a); return ok }
	maps.DeleteFunc(w.seen, func(a string, _ uint64) bool { return !member(a) })
	maps.DeleteFunc(w.version, func(a, _ string) bool { return !member(a) })
	c.Quorum = quorum(c.Kind, n)
	length := slotLength(n, w.cfg.Downtime, c.period())
	then := set
	if w.slot.set != nil && w.slot.first == height-height%length {
		then = w.slot.set // else that block is pruned, or never was here
	}
	c.Slot = slotAt(height, length, then, w.self)
	for _, a := range set {
		v := Validator{Address: a, Self: a == w.self, Sealed: max(own[a], count[a]), Version: w.version[a]}
		if v.Active = v.Sealed > 0; v.Active {
			w.seen[a] = height
		}
		v.LastActive = w.seen[a]
		c.Validators = append(c.Validators, v)
	}
}

// before notes who sealed before we came, by the node's count over the last
// blocks. Those who still do are noted higher up by judge.
func (m *memory) before(height uint64, n int, count map[string]int) {
	m.looked = true
	oldest, _ := window(height, n)
	for a, sealed := range count {
		if sealed > 0 && len(m.seen) < maxValidators {
			m.seen[a] = max(m.seen[a], oldest)
		}
	}
}
