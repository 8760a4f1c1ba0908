package probe

import (
	"fmt"
	"time"

	"github.com/wemix/wemixvisor/probe/chain"
)

const (
	// loopSilence is how long the supervisor's loop may be away before it is
	// taken for hung. It turns every few seconds.
	loopSilence = 30 * time.Second

	// A node that answers is asked every second, or every five while it sends
	// heads by itself, and may take five to answer. One slow answer is no news.
	answerSilence = 15 * time.Second
	answerFailed  = 3

	peersGrace = 30 * time.Second
)

// Live tells whether the container is better left alone. Whatever a kill would
// make worse or not mend is live: a change, a planned stop, a halted chain, a
// node that never opened RPC.
func (p *Prober) Live() Verdict {
	n, now := p.Node(), p.cfg.Now()
	var loop, process, rpc string
	if p.cfg.LoopBeat != nil {
		if beat := p.cfg.LoopBeat(); !beat.IsZero() && now.Sub(beat) > loopSilence {
			loop = fmt.Sprintf("loop has not turned for %s", round(now.Sub(beat)))
		}
	}
	if n.Failed {
		process = or(n.Reason, "failed for good")
	}
	// Counted for this node process and never during a change, nor from before
	// its end: a backup may hold the node still for longer than the limit.
	f, most := p.factsOf(n), p.limits.Load().LiveMaxRPCSilence
	if most > 0 && n.State == "running" && n.Change == "" && !f.FirstAnswer.IsZero() {
		since := f.LastAnswer
		if ended := *p.changeEnded.Load(); ended.After(since) {
			since = ended
		}
		if silence := now.Sub(since); silence > most {
			rpc = fmt.Sprintf("silent for %s%s", round(silence), because(f.Err))
		}
	}
	return verdict(check("supervisor", loop), check("process", process), check("rpc_endpoint", rpc))
}

// Ready tells whether the node should get traffic. It never trusts eth_syncing
// alone: a halted chain and a node that has just come back both say false.
func (p *Prober) Ready() Verdict {
	n, now := p.Node(), p.cfg.Now()
	process, change := down(n), ""
	if phase := *p.phase.Load(); phase != "" {
		process = phase
	}
	if n.Change != "" {
		change = n.Change + " in progress"
	}
	if process != "" { // the rest would only say the same
		return verdict(check("process", process), check("change", change))
	}
	f := p.factsOf(n)
	return verdict(check("process", ""), check("change", change),
		check("rpc_endpoint", rpcWrong(f, now)), check("sync", p.syncWrong(f, now)), check("network", p.peersWrong(f, now)))
}

// Startup tells whether an orchestrator may begin to judge. It must not kill a
// long copy, so whatever we hold the node down for counts as started.
func (p *Prober) Startup() Verdict {
	n := p.Node()
	if p.answered.Load() || n.Held || n.Change != "" || *p.phase.Load() != "" {
		return verdict(check("rpc_endpoint", ""))
	}
	if wrong := down(n); wrong != "" {
		return verdict(check("process", wrong))
	}
	return verdict(check("rpc_endpoint", "has not answered yet"+because(p.factsOf(n).Err)))
}

// Health returns all checks.
func (p *Prober) Health() Health {
	n, now := p.Node(), p.cfg.Now()
	process := down(n)
	rpc, sync, network := process, process, process
	if process == "" {
		f := p.factsOf(n)
		rpc, sync, network = rpcWrong(f, now), p.syncWrong(f, now), p.peersWrong(f, now)
	} else if phase := *p.phase.Load(); phase != "" {
		process = phase
	}
	if alarm := p.Alarm(); alarm != "" {
		sync = "another chain than before: " + alarm
	}
	v := verdict(check("process", process), check("rpc_endpoint", rpc), p.memoryCheck(), p.diskCheck(),
		check("network", network), check("sync", sync))
	h := Health{Healthy: v.OK, Timestamp: now.UTC(), Checks: make(map[string]Check, len(v.Checks))}
	for _, c := range v.Checks {
		h.Checks[c.Name] = c
	}
	return h
}

// factsOf returns the facts as far as they are of this node process: supervisor
// and follower push on their own, and one may be ahead.
func (p *Prober) factsOf(n Node) chain.Facts {
	f := p.Facts()
	if f.Started.Before(n.Started) {
		return chain.Facts{Head: f.Head}
	}
	return f
}

// down says why the node does not run, nothing when it does.
func down(n Node) string {
	if n.State == "running" {
		return ""
	}
	state := or(n.State, "not started")
	if n.Reason == "" {
		return state
	}
	return state + ": " + n.Reason
}

func rpcWrong(f chain.Facts, now time.Time) string {
	switch {
	case f.LastAnswer.IsZero():
		return "has not answered yet" + because(f.Err)
	case f.Failed >= answerFailed, now.Sub(f.LastAnswer) > answerSilence:
		return fmt.Sprintf("no answer for %s%s", round(now.Sub(f.LastAnswer)), because(f.Err))
	}
	return ""
}

func (p *Prober) syncWrong(f chain.Facts, now time.Time) string {
	if !f.HeadKnown {
		return "head not known" + because(f.Err)
	}
	age, lag, most := f.Head.Age(now), f.Lag(), p.limits.Load()
	old := most.MaxHeadAge > 0 &&
		p.headAge.over(age > most.MaxHeadAge, age <= most.MaxHeadAge*4/5)
	behind := p.lag.over(lag > most.MaxLag, lag <= most.MaxLag*4/5)
	switch {
	case behind:
		return fmt.Sprintf("%d blocks behind", lag)
	case old && now.Sub(f.Head.Seen) > most.MaxHeadAge:
		return fmt.Sprintf("head %d has stood still for %s", f.Head.Number, round(now.Sub(f.Head.Seen)))
	case old:
		return fmt.Sprintf("head %d is %s old", f.Head.Number, round(age))
	}
	return ""
}

func (p *Prober) peersWrong(f chain.Facts, now time.Time) string {
	least := p.limits.Load().MinPeers
	switch {
	case least <= 0:
		if f.PeersKnown && f.Peers == 0 && !f.Listening {
			return "no peers and not listening for any"
		}
		return "" // a chain of one node is legal
	case !f.PeersKnown:
		return "number of peers not known"
	case f.Peers < least && now.Sub(*p.peersEnough.Load()) > peersGrace:
		return fmt.Sprintf("%d of at least %d peers", f.Peers, least)
	}
	return ""
}

func because(err string) string {
	if err == "" {
		return ""
	}
	return ": " + err
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// round makes a duration readable.
func round(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}
