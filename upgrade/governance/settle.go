package governance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/wemix/wemixvisor/backup/failpoint"
	"github.com/wemix/wemixvisor/upgrade"
)

// settle does what follows from the proposals that have passed and are
// confirmed.
func (w *Watcher) settle(ctx context.Context) error {
	for i := range w.state.Proposals {
		if p := &w.state.Proposals[i]; p.Stage == Passed && !p.Settled {
			if err := w.decide(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// decide files the plan of a proposal that has passed, or says why not. When it
// returns an error it is asked again.
func (w *Watcher) decide(ctx context.Context, p *Proposal) error {
	last, ok := w.confirmed()
	if !ok || last < p.Block {
		return nil // the node lost blocks
	}
	b, now, err := w.source.ballot(ctx, w.client, w.contract, p.ID, last, p.Block)
	if err != nil {
		return err
	}
	if now != p.BlockHash {
		return nil // the next look begins with finding that out
	}
	next := *p
	next.Memo, next.Settled = shown(b.memo), true
	if w.source.kind == SourceWemix {
		next.Type, next.Creator = b.kind, b.creator
	}
	if !b.finalized || b.state != accepted {
		next.enter(Ignored, fmt.Sprintf("at block %d the contract says that it is not accepted: state %d, finalized %t", last, b.state, b.finalized))
		return w.keep(p, next)
	}
	if w.source.kind == SourceWemix && b.kind != execute {
		next.Reason = fmt.Sprintf("a ballot of type %d carries no plan", b.kind)
		return w.keep(p, next)
	}
	plan, err := DecodeMemo(b.memo)
	if errors.Is(err, errNoPlan) {
		next.Reason = err.Error()
		return w.keep(p, next)
	}
	if err != nil {
		next.enter(Ignored, reason(err))
		return w.keep(p, next)
	}
	plan.By, plan.Filed = upgrade.ByGovernance, time.Now().UTC().Truncate(time.Second)
	if p.Plan != nil && p.Plan.Digest() == plan.Digest() { // we were interrupted
		plan.Filed = p.Plan.Filed
	}
	next.Plan = &plan
	if p.Left == plan.Digest() {
		next.enter(Scheduled, "it was filed before, and had left the queue")
		return w.keep(p, next)
	}
	if plan.Height <= w.state.From { // history: it was applied then, or by others
		next.Reason = "its height had come before votes were followed here"
		return w.keep(p, next)
	}
	if plan.Height <= w.head {
		next.enter(Ignored, fmt.Sprintf("it came too late: height %d, head %d; to upgrade all the same: wemixvisor upgrade schedule", plan.Height, w.head))
		return w.keep(p, next)
	}
	return w.file(ctx, p, next)
}

// file puts the plan into the queue. That it is about to is on disk before, with
// the moment: who loses power in between files the same plan again, not another.
func (w *Watcher) file(ctx context.Context, p *Proposal, next Proposal) error {
	lies, err := w.cfg.Home.Filed(next.Plan.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil || lies.Digest() != next.Plan.Digest():
		next.enter(Ignored, fmt.Sprintf("another plan named %s lies in the queue; cancel that and schedule this one, if it shall be: wemixvisor upgrade cancel %s", next.Plan.Name, next.Plan.Name))
		return w.keep(p, next)
	case lies.By == upgrade.ByGovernance && lies.Filed.Equal(next.Plan.Filed): // before we were interrupted
		next.enter(Scheduled, "")
		return w.keep(p, next)
	default:
		next.enter(Scheduled, "it lay in the queue already")
		return w.keep(p, next)
	}
	next.Settled = false
	if err := w.keep(p, next); err != nil {
		return err
	}
	failpoint.At("governance.decided")
	// The last word is the chain's, and as fresh as it can be.
	last, _ := w.confirmed()
	b, now, err := w.source.ballot(ctx, w.client, w.contract, p.ID, last, p.Block)
	if err != nil {
		return err
	}
	again, err := DecodeMemo(b.memo)
	if err != nil || now != p.BlockHash || !b.finalized || b.state != accepted || again.Digest() != p.Plan.Digest() {
		return nil // looked at anew next time
	}
	if err := w.cfg.Home.File(*next.Plan); err != nil {
		return err
	}
	failpoint.At("governance.filed")
	next.Settled = true
	next.enter(Scheduled, "")
	return w.keep(p, next)
}

// keep makes next of a proposal, on disk first.
func (w *Watcher) keep(p *Proposal, next Proposal) error {
	was := *p
	*p = next
	if err := w.state.save(stateFile(w.cfg.Home)); err != nil {
		*p = was
		return err
	}
	if next.Stage != was.Stage {
		w.tell(next)
	}
	return nil
}

// leaving notes which plans are about to be taken out of the queue: when they
// are gone after an interruption, it was us.
func (w *Watcher) leaving(gone []*Proposal) error {
	news := false
	for _, p := range gone {
		if _, err := w.cfg.Home.Filed(planName(p)); p.Stage == Scheduled && !p.Leaving && err == nil {
			find(w.state.Proposals, p.ID).Leaving, p.Leaving = true, true
			news = true
		}
	}
	if !news {
		return nil
	}
	defer failpoint.At("governance.leaving")
	return w.state.save(stateFile(w.cfg.Home))
}

func planName(p *Proposal) string {
	if p.Plan == nil {
		return ""
	}
	return p.Plan.Name
}

// withdraw takes the plan of a proposal out of the queue, unless somebody else
// put it there. One that is being applied, or was, is not in the queue.
func (w *Watcher) withdraw(p *Proposal) error {
	const why = "the chain was re-organised and the block it passed in is gone"
	mine := p.Leaving
	p.Leaving = false
	lies, err := w.cfg.Home.Filed(p.Plan.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && mine:
		p.enter(Withdrawn, why+"; its plan is withdrawn")
		return nil
	case errors.Is(err, fs.ErrNotExist):
		p.Left = p.Plan.Digest()
		p.enter(Withdrawn, why+"; its plan had left the queue before: see wemixvisor upgrade list")
		return nil
	case err != nil:
		return err
	case lies.By != upgrade.ByGovernance || lies.Digest() != p.Plan.Digest():
		p.enter(Withdrawn, why+"; the plan in the queue was filed by somebody else and stays")
		return nil
	}
	if err := w.cfg.Home.Withdraw(p.Plan.Name); err != nil {
		return err
	}
	failpoint.At("governance.withdrawn")
	p.enter(Withdrawn, why+"; its plan is withdrawn")
	return nil
}
