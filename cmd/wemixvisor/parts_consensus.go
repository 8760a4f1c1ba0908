package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/probe/chain"
)

// consent is what the network has to say about the node's stops.
type consent struct {
	gate    *chain.Gate // nil: not in validator mode
	overdue alert.Event
	warned  atomic.Bool // that the gate's time is too short
}

// buildConsensus makes where planned stops wait. It is built whether or not the
// node seals: that is asked of the node.
func (p *parts) buildConsensus() {
	s := p.s
	if !s.validatorMode {
		return
	}
	p.consent.gate = chain.NewGate(chain.GateConfig{
		Follower: p.follower,
		Timeout:  s.gateTimeout,
		Hold:     s.gatePolicy == gateHold,
		Logger:   p.log("gate"),
		OnOverdue: func(reason string) {
			what := "the node was stopped all the same"
			if s.gatePolicy == gateHold {
				what = "it waits on"
			}
			p.consent.overdue.Note(time.Now(), fmt.Sprintf("a planned stop waited for %s and %s: %s", s.gateTimeout, what, reason))
		},
	})
}

// gate is where a planned stop waits for the network to be able to do without
// the node, right before the stop is handed over. It is nil when no stop has to.
func (p *parts) gate() func(context.Context) error {
	if p.consent.gate == nil {
		return nil
	}
	return p.consent.gate.Wait
}

// waiting returns why planned stops wait at present; no reason when none does.
func (p *parts) waiting() (reason string, since time.Time) {
	if p.consent.gate == nil {
		return "", time.Time{}
	}
	return p.consent.gate.Waiting()
}

// leave ends the group for somebody who must be obeyed: what that costs is
// written down first.
func (p *parts) leave() {
	p.harm("obeying the signal at once")
	p.quit()
}

// harm logs what a stop that asks nobody does to the network.
func (p *parts) harm(why string) {
	if harm := p.follower.Consensus().Harm(time.Now()); harm != "" {
		level.Warn(p.logger).Log("msg", "stopping a validator that its network needs", "why", why, "harm", harm)
	}
}

// agreed sees every answer about the consensus. It says once what no wait can
// mend: a gate that gives up before each validator had its turn.
func (p *parts) agreed(c chain.Consensus) {
	if p.consent.gate == nil || !c.IsValidator() || c.Slot.Of == 0 {
		return
	}
	if round := c.Round(); round > p.s.gateTimeout && p.consent.warned.CompareAndSwap(false, true) {
		level.Warn(p.logger).Log("msg", "gate-timeout is shorter than the turns of all validators take; set it longer",
			"gate_timeout", p.s.gateTimeout, "round", round, "validators", c.Slot.Of, "policy", p.s.gatePolicy)
	}
}

// consensusRules are the questions about the node as a validator.
func (p *parts) consensusRules(s *settings) []alert.Rule {
	return []alert.Rule{
		{Name: "validator_not_sealing", Severity: alert.Critical, For: s.alertFor, Check: func(scene alert.Scene) string {
			return notSealing(p.follower.Consensus(), scene)
		}},
		{Name: "rollout_behind", Severity: alert.Critical, Check: func(scene alert.Scene) string {
			return rolloutBehind(p.follower.Consensus(), scene.Facts.Version, uint64(s.alertRollout))
		}},
		{Name: "gate_overdue", Severity: alert.Critical, Check: p.consent.overdue.Within(s.alertRemember)},
	}
}

// notSealing asks whether the node, being one of those who seal, does not while
// others do. When nobody does it is the chain that stands, which has an alert.
func notSealing(c chain.Consensus, scene alert.Scene) string {
	switch {
	case scene.Node.State != "running" || scene.Node.Change != "" || !c.Known || !c.Silent.IsZero():
		return alert.Unknown
	case !c.IsValidator() || c.IsActive():
		return ""
	case c.Halted(scene.Now):
		return alert.Unknown
	}
	return fmt.Sprintf("validator %s has sealed none of the last %d blocks; %d of %d validators do", c.Self, len(c.Validators), c.Active(), len(c.Validators))
}

// rolloutBehind asks whether a fork that the running binary knows is near, and
// those who run that version or a later one are no quorum: then the chain may
// halt or split at the fork. Who runs an earlier one can't be told of forks that
// only a later one knows.
func rolloutBehind(c chain.Consensus, version string, ahead uint64) string {
	if ahead == 0 || !c.Known || c.Kind == "" || len(c.Validators) == 0 {
		return ""
	}
	forks := c.ForksUntil(c.Head.Number + ahead)
	if version == "" || len(forks) == 0 {
		return ""
	}
	have, want := c.Rollout(version)
	if have >= want {
		return ""
	}
	at := fmt.Sprintf("at block %d", forks[0].Block)
	if !forks[0].Time.IsZero() {
		at = "at " + forks[0].Time.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("only %d validators propose with %s or later, it takes %d, and the fork %s comes %s", have, version, want, forks[0].Name, at)
}
