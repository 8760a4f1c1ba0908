package alert

import (
	"fmt"
	"time"
)

// Limits are the thresholds of NodeRules. Zero does not look, save where it
// says otherwise.
type Limits struct {
	For           time.Duration // how long what lasts must last; 0: at once
	HeadAge       time.Duration // without a new block
	Lag           uint64        // blocks
	Peers         int           // at least
	Free          float64       // percent of a disk's bytes and inodes
	FullWithin    time.Duration // at the rate of the last half hour
	Restarts      int           // the supervisor's budget, and its window
	RestartWindow time.Duration
}

// NodeRules are the questions about the node and its machine.
func NodeRules(l Limits) []Rule {
	return []Rule{
		{"node_down", Critical, l.For, nodeDown},
		{"crash_loop", Critical, 0, crashLoop},
		{"restart_budget", Warning, 0, l.restartBudget},
		{"no_new_head", Critical, 0, l.noNewHead},
		{"lagging", Warning, l.For, l.lagging},
		{"few_peers", Warning, l.For, l.fewPeers},
		{"disk_low", Critical, 0, l.diskLow},
		{"disk_filling", Warning, l.For, l.diskFilling},
		{"chain_changed", Critical, 0, func(s Scene) string { return s.Alarm }},
	}
}

// nodeDown asks whether the node is down although nobody wanted that.
func nodeDown(s Scene) string {
	n := s.Node
	switch {
	case n.State == "stopping" || n.Change != "":
		return Unknown
	case n.State == "" || n.State == "running" || n.Held && !n.Stuck:
		return ""
	case n.Reason == "":
		return "node is " + n.State
	}
	return "node is " + n.State + ": " + n.Reason
}

func crashLoop(s Scene) string {
	if !s.Node.Failed {
		return ""
	}
	return "node keeps failing and is not restarted any more: " + s.Node.Reason
}

// restartBudget asks whether one more crash, or the one after it, is the last.
func (l Limits) restartBudget(s Scene) string {
	spent := 0
	for _, at := range s.Node.Spent {
		if s.Now.Sub(at) < l.RestartWindow {
			spent++
		}
	}
	if spent == 0 || spent < l.Restarts-1 {
		return ""
	}
	why := fmt.Sprintf("%d of %d restarts within %s are spent", spent, l.Restarts, l.RestartWindow)
	if s.Node.Reason != "" { // none while it runs
		why += ": " + s.Node.Reason
	}
	return why
}

// noNewHead counts from a node's start, since it may have been down for long on
// purpose; but an alert that fires ends with a new block and nothing else.
func (l Limits) noNewHead(s Scene) string {
	if l.HeadAge <= 0 {
		return ""
	}
	head, since, limit := s.Facts.Head, s.Facts.Head.Seen, l.HeadAge
	switch {
	case s.Firing && !s.Facts.HeadKnown:
		return Unknown
	case s.Firing:
		limit = limit * 4 / 5
	case s.Node.State != "running" || s.Node.Change != "":
		return ""
	case s.Node.Started.After(since):
		since = s.Node.Started
	}
	age := s.Now.Sub(since)
	switch {
	case age <= limit:
		return ""
	case !head.Known():
		return "no block seen for " + l.HeadAge.String() + " after the node's start"
	}
	return fmt.Sprintf("no new block for more than %s; the last one is %d", l.HeadAge, head.Number)
}

func (l Limits) lagging(s Scene) string {
	limit := l.Lag
	switch {
	case limit == 0:
		return ""
	case !s.Facts.HeadKnown:
		return Unknown
	case s.Firing:
		limit = limit * 4 / 5
	}
	if s.Facts.Lag() <= limit {
		return ""
	}
	return fmt.Sprintf("node is more than %d blocks behind", l.Lag)
}

func (l Limits) fewPeers(s Scene) string {
	switch {
	case l.Peers <= 0:
		return ""
	case !s.Facts.PeersKnown:
		return Unknown
	case s.Facts.Peers >= l.Peers:
		return ""
	}
	return fmt.Sprintf("node has %d of at least %d peers", s.Facts.Peers, l.Peers)
}

// plenty is enough on any disk: ten percent of a large one is not scarcity.
const plenty = 20 << 30

func (l Limits) diskLow(s Scene) string {
	margin := 1.0
	if s.Firing {
		margin = 1.2
	}
	why := ""
	for _, d := range s.Resources.Disks {
		need := min(float64(d.Size)*l.Free/100, plenty) * margin
		switch {
		case d.Err != "":
			if why == "" {
				why = Unknown
			}
		case float64(d.Free) < need:
			return fmt.Sprintf("%s: %s", d.Path, d)
		case d.Inodes > 0 && float64(d.InodesFree) < float64(d.Inodes)*l.Free/100*margin:
			return fmt.Sprintf("%s: %d of %d inodes free", d.Path, d.InodesFree, d.Inodes)
		}
	}
	return why
}

// diskFilling looks at disks that are half full or more: a fresh one that is
// filled by a node's first synchronisation has time to show where it ends.
func (l Limits) diskFilling(s Scene) string {
	within := l.FullWithin
	if s.Firing {
		within = within * 6 / 5
	}
	for _, d := range s.Resources.Disks {
		if d.FullIn > 0 && d.FullIn < within && d.Free < d.Size/2 {
			return fmt.Sprintf("%s: %s, full in %s at the present rate", d.Path, d, d.FullIn.Round(time.Minute))
		}
	}
	return ""
}
