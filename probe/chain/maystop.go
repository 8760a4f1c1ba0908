package chain

import (
	"fmt"
	"strings"
	"time"
)

const (
	// haltedAfter is how many block periods without a block mean that the chain
	// stands anyway.
	haltedAfter = 20
	// freshFor is how many block periods old a head may be that is fresh. Their
	// clocks differ and are told in whole seconds: never less than minFresh.
	freshFor = 5
	minFresh = 5 * time.Second
	// silentAfter is how long a node must have answered nothing before we stop
	// without knowing: silence must not keep one alive that hangs.
	silentAfter = time.Minute
	// asking is the reason while it was asked nothing yet.
	asking = "whether the chain needs the node is being asked"
)

// MayStop judges whether the node may be stopped at now without harm to its
// network. The reason says why not; together with true it is a warning of what
// the stop may cost.
//
// It may iff the others still make a quorum, the head is fresh, blocks come in
// their first round, nobody else is away, and it is this node's turn. It also
// may where nothing is left to halt, and where nobody can tell.
func (c Consensus) MayStop(now time.Time) (ok bool, reason string) {
	if ok, reason, done := c.unjudged(now); done {
		return ok, reason
	}
	if c.Halted(now) {
		return true, fmt.Sprintf("the chain stands since block %d: nothing is left to halt", c.Head.Number)
	}
	var warnings []string
	if harm := c.harm(); harm != "" {
		// With so few none can ever be spared. Waiting helps nobody then, but one
		// after the other they still go, and each when all others are there.
		if c.size()-1 >= c.Quorum || c.away() != "" {
			return false, harm
		}
		warnings = append(warnings, harm)
	}
	if away := c.away(); away != "" {
		return false, away
	}
	if c.Head.Age(now) > c.fresh() {
		return false, "the head is not fresh"
	}
	if c.MaxRound > 1 || c.Late*4 > c.Window {
		return false, "blocks need more than their first round"
	}
	if c.size() > 1 {
		if p := c.Producer; p != nil && p.holds(now) {
			return false, "the node holds the mining token"
		}
		if !c.Slot.open(c.Head.Number) {
			if next, ok := c.Slot.Next(c.Head.Number); ok {
				return false, fmt.Sprintf("its turn comes at block %d", next)
			}
			return false, "it was no validator when this slot began"
		}
	}
	if p := c.Producer; p != nil && p.Name != "" && p.Leader == p.Name {
		warnings = append(warnings, "the node leads etcd: the others have to elect another leader")
	}
	return true, strings.Join(warnings, "; ")
}

// Harm says what stopping the node now does to the chain, empty when nothing:
// what an operator or orchestrator who stops it without asking should read.
func (c Consensus) Harm(now time.Time) string {
	if _, _, done := c.unjudged(now); done || c.Halted(now) {
		return ""
	}
	return c.harm()
}

// unjudged answers where there is no consensus to judge by.
func (c Consensus) unjudged(now time.Time) (ok bool, reason string, done bool) {
	silent := !c.Silent.IsZero() && now.Sub(c.Silent) > silentAfter
	switch {
	case c.Started.IsZero():
		return true, "", true
	case silent:
		return true, "the node does not answer: whether the chain needs it is not known", true
	case !c.Known && c.Err != "":
		return false, "whether the chain needs the node is not known: " + c.Err, true
	case !c.Known:
		return false, asking, true
	case c.Kind == "":
		return true, c.Err, true
	case now.Sub(c.Asked) > max(2*c.fresh(), 2*outsiderEvery):
		return false, "the node's last word on the consensus is old", true
	case !c.IsValidator():
		return true, c.Err, true
	}
	return false, "", false
}

// harm compares those who would be left with the quorum.
func (c Consensus) harm() string {
	n := len(c.Validators)
	if c.Producer != nil {
		return c.Producer.harm()
	}
	active, others := c.active()
	if others >= c.Quorum {
		return ""
	}
	if n-1 < c.Quorum && active == n {
		return fmt.Sprintf("the chain stands while the node is down: of %s none can be spared", plural(n, "validator"))
	}
	return fmt.Sprintf("only %d of %d validators seal and the quorum is %d: without this one it is %d", active, n, c.Quorum, others)
}

// away says who is missing at present: empty when all are there who were there
// before, and, where none can be spared, all others.
func (c Consensus) away() string {
	if missing := c.missing(); len(missing) > 0 {
		text := "validator " + missing[0].name() + " sealed before and does not now"
		if len(missing) > 1 {
			text += fmt.Sprintf(", nor do %d others", len(missing)-1)
		}
		return text
	}
	if n := len(c.Validators); c.size()-1 < c.Quorum {
		if _, others := c.active(); others < n-1 {
			return fmt.Sprintf("only %d of the %d others seal", others, n-1)
		}
	}
	return ""
}

// size is how many there are of those who make the quorum: validators, and with
// go-wemix the members of etcd.
func (c Consensus) size() int {
	if c.Producer != nil {
		return len(c.Producer.Members)
	}
	return len(c.Validators)
}

// Halted reports whether no block has come for so long that the chain stands,
// with or without the node.
func (c Consensus) Halted(now time.Time) bool {
	return c.Head.Known() && c.Head.Age(now) > haltedAfter*c.period()
}

func (c Consensus) fresh() time.Duration { return max(freshFor*c.period(), minFresh) }

func (c Consensus) period() time.Duration {
	if c.BlockPeriod <= 0 {
		return time.Second
	}
	return c.BlockPeriod
}

// holds reports whether the node may mine at now.
func (p *Producer) holds(now time.Time) bool {
	return p.Name != "" && p.Token == p.Name && now.Before(p.TokenTill)
}

// harm asks for etcd's majority: without it nobody gets the token.
func (p *Producer) harm() string {
	up, others := 0, 0
	member := false
	for _, m := range p.Members {
		member = member || m.Self
		if m.Up || m.Self {
			up++
			if !m.Self {
				others++
			}
		}
	}
	n := len(p.Members)
	majority := quorum(Wemix, n)
	switch {
	case !member, others >= majority:
		return ""
	case !p.UpKnown && n > 1:
		return "" // a node that does not tell who is up can't be judged by it
	case n-1 < majority && up == n:
		return fmt.Sprintf("the chain stands while the node is down: of %s of etcd none can be spared", plural(n, "member"))
	}
	return fmt.Sprintf("only %d of %d members of etcd are up and its majority is %d: without this one it is %d", up, n, majority, others)
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
