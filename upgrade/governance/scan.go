package governance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/probe/chain"
)

// saveEvery is how many ranges without an event are looked at between two writes.
const saveEvery = 50

// poll looks at what is new on the chain, and does what follows from it.
func (w *Watcher) poll(ctx context.Context, f chain.Facts) error {
	if w.client.Client == nil || time.Since(w.met) > meetEvery {
		if err := w.meet(ctx, f); err != nil {
			return err
		}
	}
	if err := w.restore(f); err != nil {
		return err
	}
	var head hexutil.Uint64
	if err := w.client.Call(ctx, &head, "eth_blockNumber"); err != nil {
		return err
	}
	w.head = uint64(head)
	if err := w.verify(ctx); err != nil {
		return err
	}
	if err := w.advance(ctx); err != nil {
		return err
	}
	if err := w.lookAhead(ctx); err != nil {
		return err
	}
	return w.settle(ctx)
}

// confirmed is the highest block with enough confirmations, if there is one.
func (w *Watcher) confirmed() (uint64, bool) {
	return w.head - w.cfg.Confirmations, w.head >= w.cfg.Confirmations
}

// verify finds out whether what was looked at is still on the chain. A node whose
// head went back below that has lost blocks, and will show which it gets instead.
func (w *Watcher) verify(ctx context.Context) error {
	changed := false
	for i, b := range slices.Backward(w.state.Checked) {
		if b.Number > w.head {
			continue
		}
		now, err := w.client.hashOf(ctx, b.Number)
		if err != nil {
			return err
		}
		if now == b.Hash {
			if changed {
				return w.goBack(i)
			}
			return nil
		}
		changed = true
	}
	if changed {
		return w.goBack(-1)
	}
	return nil
}

// goBack forgets what was looked at after the i-th checked block. Plans that
// were filed for it are withdrawn.
func (w *Watcher) goBack(i int) error {
	s := *w.state
	s.Proposals = slices.Clone(s.Proposals)
	gone := s.back(i)
	if err := w.leaving(gone); err != nil {
		return err
	}
	level.Warn(w.cfg.Logger).Log("msg", "chain was re-organised below confirmed blocks; looking again", "from", s.Next)
	var news []Proposal
	drop := map[string]bool{}
	for _, p := range gone {
		switch {
		case p.Stage == Scheduled:
			if err := w.withdraw(p); err != nil {
				return err
			}
			news = append(news, *p)
		case p.Stage == Withdrawn: // it was gone before
		case p.Created > 0 && p.Created < s.Next:
			*p = Proposal{ID: p.ID, Type: p.Type, Creator: p.Creator, Created: p.Created, Stage: Open, Since: time.Now().UTC(), Left: p.Left}
		default:
			drop[p.ID] = true
		}
	}
	s.Proposals = slices.DeleteFunc(s.Proposals, func(p Proposal) bool { return drop[p.ID] })
	if err := s.save(stateFile(w.cfg.Home)); err != nil {
		return err
	}
	w.state = &s
	for _, p := range news {
		w.tell(p)
	}
	return nil
}

// advance looks at all confirmed blocks that were not looked at.
func (w *Watcher) advance(ctx context.Context) error {
	last, ok := w.confirmed()
	if !ok {
		return nil
	}
	s := w.state
	if !s.Begun {
		s.Begun = true
		if last > lookBack {
			s.First = last - lookBack
		}
		s.Next, s.From = s.First, w.head
	}
	for ranges := 1; s.Next <= last; ranges++ {
		to := min(last, s.Next+w.span-1)
		entries, end, err := w.source.scan(ctx, w.client, w.contract, s.Next, to)
		if err != nil {
			if w.span > 1 && !errors.Is(err, chain.ErrNoMethod) {
				w.span /= 2 // the answer may have been too large, or too slow
			}
			return err
		}
		w.span = min(2*w.span, maxSpan)
		next := *s // all of it counts once it is on disk
		next.Checked, next.Proposals = slices.Clone(s.Checked), slices.Clone(s.Proposals)
		news := next.take(entries)
		next.checked(end)
		next.trim()
		if len(news) > 0 || ranges%saveEvery == 0 || to == last && w.stale(next) {
			if err := next.save(stateFile(w.cfg.Home)); err != nil {
				return err
			}
		}
		*s = next
		for _, p := range news {
			w.tell(p)
		}
		if to < last {
			w.publish(CatchingUp, fmt.Sprintf("block %d of %d", to, last))
		}
	}
	return nil
}

// stale reports whether the state is worth a write for its position alone: going
// on from a hundred blocks ago costs one question more.
func (w *Watcher) stale(next state) bool {
	return len(next.Checked) < 2 || next.Next%100 < next.Next-w.state.Next
}

// take applies events in their order and returns the proposals that changed.
func (s *state) take(entries []entry) []Proposal {
	var news []Proposal
	for _, e := range entries {
		p := find(s.Proposals, e.id)
		if e.state == 0 {
			if p == nil {
				s.Proposals = append(s.Proposals, Proposal{ID: e.id, Type: e.kind, Creator: e.creator, Created: e.block.Number})
				p = &s.Proposals[len(s.Proposals)-1]
				p.enter(Open, "")
				news = append(news, *p)
			}
			continue
		}
		if p == nil {
			s.Proposals = append(s.Proposals, Proposal{ID: e.id})
			p = &s.Proposals[len(s.Proposals)-1]
		}
		if p.Block > 0 && p.Stage != Withdrawn {
			continue // it is finalised once
		}
		p.Block, p.BlockHash, p.Memo, p.Plan = e.block.Number, e.block.Hash, "", nil
		p.Settled = e.state != accepted
		switch e.state {
		case accepted:
			p.enter(Passed, "")
		case rejected:
			p.enter(Rejected, "")
		case cancelled:
			p.enter(Rejected, "cancelled")
		default:
			p.enter(Rejected, "in a state that is not known")
		}
		news = append(news, *p)
	}
	return news
}

// lookAhead looks at the blocks without enough confirmations: people want to
// hear of a ballot at once, and nothing else follows from it.
func (w *Watcher) lookAhead(ctx context.Context) error {
	first := uint64(0)
	if last, ok := w.confirmed(); ok {
		first = max(last+1, w.state.Next)
	}
	var entries []entry
	if first <= w.head {
		var err error
		if entries, _, err = w.source.scan(ctx, w.client, w.contract, max(first, w.head-min(w.head, maxSpan)), w.head); err != nil {
			return err
		}
	}
	view := state{Proposals: slices.Clone(w.state.Proposals)}
	var ahead []Proposal
	for _, p := range view.take(entries) {
		if old := find(ahead, p.ID); old != nil {
			*old = p
		} else {
			ahead = append(ahead, p)
		}
	}
	for i := range ahead {
		if p := &ahead[i]; p.Block > 0 {
			p.Reason = fmt.Sprintf("%d confirmations of %d", w.head-p.Block, w.cfg.Confirmations)
		}
		w.tell(ahead[i])
	}
	for _, was := range w.ahead {
		is := find(ahead, was.ID)
		if is == nil {
			is = find(w.state.Proposals, was.ID)
		}
		if is != nil && (was.Block == 0 || is.BlockHash == was.BlockHash) {
			continue
		}
		was.enter(Withdrawn, "the chain was re-organised before it was confirmed")
		w.tell(was)
	}
	w.ahead = ahead
	return nil
}
