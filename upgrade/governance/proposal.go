package governance

import (
	"slices"
	"strings"
	"time"

	"github.com/wemix/wemixvisor/upgrade"
)

// Stage is what has become of a proposal.
type Stage string

// The stages. A proposal that passes stays so while it waits for its
// confirmations, and for good where it carries no plan.
const (
	Open      Stage = "open"
	Passed    Stage = "passed"
	Rejected  Stage = "rejected"
	Scheduled Stage = "scheduled" // its plan was filed
	Ignored   Stage = "ignored"   // its plan is not taken; the reason says why
	Withdrawn Stage = "withdrawn" // the chain went back before the block it passed in
)

// Proposal is one ballot as people and machines see it.
type Proposal struct {
	ID      string    `json:"id"` // decimal
	Type    uint64    `json:"type"`
	Creator string    `json:"creator"`
	Stage   Stage     `json:"stage"`
	Reason  string    `json:"reason"`
	Since   time.Time `json:"since"` // of the stage

	Created       uint64 `json:"created"`    // block; 0: before we looked
	Block         uint64 `json:"block"`      // in which it was finalised; 0: not yet
	BlockHash     string `json:"block_hash"` // of that
	Confirmations uint64 `json:"confirmations"`

	Memo string        `json:"memo"` // printable, and cut; empty until it is confirmed
	Plan *upgrade.Plan `json:"plan"` // null: none, or not confirmed

	Settled bool `json:"settled"` // nothing more is done about it
	// Left is the digest of a plan of it that was filed and had left the queue
	// when the chain went back: it is not filed twice.
	Left string `json:"left,omitempty"`
	// Leaving: its plan is about to be withdrawn.
	Leaving bool `json:"leaving,omitempty"`
}

// Event is a proposal that entered a stage.
type Event struct {
	Proposal string    `json:"proposal"`
	Stage    Stage     `json:"stage"`
	Name     string    `json:"name,omitempty"` // of the plan
	Height   uint64    `json:"height,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
}

// States of the watcher.
const (
	Off         = "off"         // not switched on
	Waiting     = "waiting"     // for the node
	CatchingUp  = "catching-up" // with blocks that were not looked at yet
	Following   = "following"
	Unavailable = "unavailable" // the node does not tell at present; asked on
	NotOffered  = "not-offered" // the node has no such methods; not asked again
)

// Status is what the watcher knows at one moment. It is a value.
type Status struct {
	State         string     `json:"state"`
	Reason        string     `json:"reason"`
	Source        string     `json:"source"`
	Contract      string     `json:"contract"` // that is read; empty: not known yet
	Confirmations uint64     `json:"confirmations"`
	Head          uint64     `json:"head"`
	Scanned       uint64     `json:"scanned"` // every block up to it was looked at, and is confirmed
	Proposals     []Proposal `json:"proposals"`
}

// Proposal returns the one of that id.
func (s Status) Proposal(id string) (Proposal, bool) {
	for _, p := range s.Proposals {
		if p.ID == id {
			return p, true
		}
	}
	return Proposal{}, false
}

// enter notes a stage.
func (p *Proposal) enter(stage Stage, reason string) {
	if p.Stage != stage {
		p.Since = time.Now().UTC()
	}
	p.Stage, p.Reason = stage, reason
}

// last is the newest block that says something of it.
func (p *Proposal) last() uint64 { return max(p.Created, p.Block) }

// newest sorts by the block that said something last, the newest first.
func newest(a, b Proposal) int {
	switch {
	case a.last() > b.last():
		return -1
	case a.last() < b.last():
		return 1
	}
	return strings.Compare(b.ID, a.ID)
}

// find returns the proposal of that id in list, or nil.
func find(list []Proposal, id string) *Proposal {
	if i := slices.IndexFunc(list, func(p Proposal) bool { return p.ID == id }); i >= 0 {
		return &list[i]
	}
	return nil
}
