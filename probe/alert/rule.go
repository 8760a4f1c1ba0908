package alert

import (
	"time"

	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/chain"
)

// Scene is what is known at one moment. A rule may look elsewhere too, at what
// costs nothing to read: it is asked every second and must not block.
type Scene struct {
	Now       time.Time
	Node      probe.Node
	Facts     chain.Facts
	Resources probe.Resources
	Alarm     string // how the chain is another one than it was
	Firing    bool   // this rule's alert fires: a limit is left only with a margin
}

// SceneOf returns what the prober was told.
func SceneOf(p *probe.Prober, now time.Time) Scene {
	return Scene{Now: now, Node: p.Node(), Facts: p.Facts(), Resources: p.Resources(), Alarm: p.Alarm()}
}

// Unknown is the answer of a rule that can't tell at present, a node that is
// down having no peers to count: what fires goes on, what does not stays quiet.
const Unknown = "unknown"

// Rule is one question.
type Rule struct {
	Name     string // snake_case; also the label of alerts_total
	Severity Severity
	For      time.Duration      // how long the answer must last before it fires
	Check    func(Scene) string // why it should fire; empty: it should not
}
