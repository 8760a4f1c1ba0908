package upgrade

import "time"

// Stage is how far a plan has come.
type Stage string

// The stages of a plan's life. The last six are ends, of which rolled-back and
// failed can be taken up again by a retry, and unconfirmed becomes done when
// the chain moves.
const (
	Scheduled   Stage = "scheduled"
	Preparing   Stage = "preparing"
	Prepared    Stage = "prepared"
	NotReady    Stage = "not-ready"
	Waiting     Stage = "waiting" // it is due; the reason says for what it waits
	Switching   Stage = "switching"
	Confirming  Stage = "confirming"
	Done        Stage = "done"
	Unconfirmed Stage = "unconfirmed"
	RolledBack  Stage = "rolled-back"
	Failed      Stage = "failed"
	Cancelled   Stage = "cancelled"
	Superseded  Stage = "superseded"
)

// Pending reports whether the plan is still to be applied.
func (s Stage) Pending() bool {
	switch s {
	case Scheduled, Preparing, Prepared, NotReady, Waiting:
		return true
	}
	return false
}

// Over reports whether nothing more is done about the plan by itself.
func (s Stage) Over() bool {
	return !s.Pending() && s != Switching && s != Confirming
}

// Record is what the journal knows of one plan.
type Record struct {
	Plan
	Digest string   `json:"digest"`
	Files  []string `json:"files,omitempty"` // where it lies on the volume; empty once it is over
	Batch  string   `json:"batch,omitempty"`

	Stage  Stage     `json:"stage"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`          // of the stage
	Held   bool      `json:"held,omitempty"` // until somebody retries it
	Fault  string    `json:"fault,omitempty"`
	Steps  []Step    `json:"steps"` // every stage it was in

	// Withdrawn: cancelled because its file went, so a file that comes back counts.
	Withdrawn bool `json:"withdrawn,omitempty"`
	// After is the head when the plan was accepted: it orders plans for now
	// among those with a height.
	After uint64 `json:"after,omitempty"`

	SHA256  string `json:"sha256"` // of the binary, once prepared
	Version string `json:"version,omitempty"`
	File    fileID `json:"file,omitzero"` // the binary that was checked

	Switch *Switch `json:"switch,omitempty"` // the last one that was begun
}

// Faults that a command reports by an exit code of their own.
const (
	FaultChecksum = "checksum"
	FaultNoSpace  = "no space"
)

// Step is one stage in a plan's life.
type Step struct {
	Stage  Stage     `json:"stage"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// keptSteps bounds the steps that are kept of one plan: one that is not ready
// for a year is tried often.
const keptSteps = 50

// enter notes a new stage. A stage that is entered again with another reason is
// the same step.
func (r *Record) enter(stage Stage, reason string, now time.Time) {
	if r.Stage == stage {
		r.Reason = reason
		if n := len(r.Steps); n > 0 {
			r.Steps[n-1].Reason = reason
		}
		return
	}
	r.Stage, r.Reason, r.Since = stage, reason, now
	r.Steps = append(r.Steps, Step{stage, now, reason})
	if n := len(r.Steps); n > keptSteps {
		r.Steps = append(r.Steps[:1], r.Steps[n-keptSteps+1:]...)
	}
	if stage.Over() {
		r.Files = nil
	}
}

// order is where a plan stands among others: its height, and for one that is
// for now the height at which it came.
func (r *Record) order() uint64 {
	if r.Height == 0 {
		return r.After
	}
	return r.Height
}

// folder is what the link names once the plan is applied.
func (r *Record) folder() string { return "upgrades/" + r.Name }

// The steps of a switch, each journalled before it is done.
const (
	stepStop   = "stop"   // the node is told to stop; nothing else has changed
	stepHook   = "hook"   // the snapshot exists, and a hook may have changed the data
	stepLink   = "link"   // the link is replaced and the new binary started
	stepRevert = "revert" // all of it goes back
)

// Switch is one attempt to replace the binary.
type Switch struct {
	Step     string    `json:"step"`
	Began    time.Time `json:"began"`
	Attempts int       `json:"attempts,omitempty"` // interrupted ones before it

	Previous       string `json:"previous"` // what the link named: genesis or upgrades/NAME
	PreviousSHA256 string `json:"previous_sha256,omitempty"`

	Head      uint64 `json:"head"` // the old binary's last one
	HeadKnown bool   `json:"head_known,omitempty"`
	Hash      string `json:"hash,omitempty"`
	Late      uint64 `json:"late,omitempty"`      // blocks past the plan's height
	Forks     []Fork `json:"forks,omitempty"`     // what the old binary knows
	NewForks  []Fork `json:"new_forks,omitempty"` // and the new one

	Snapshot string `json:"snapshot,omitempty"`
	Clean    bool   `json:"clean,omitempty"` // the old binary had written all it knew

	Starts  int  `json:"starts,omitempty"`  // of the new binary, orderly ends not counted
	Orderly bool `json:"orderly,omitempty"` // we were told to stop in mid-trial

	Why      string `json:"why,omitempty"`       // it goes back
	Data     bool   `json:"data,omitempty"`      // the data too
	End      Stage  `json:"end,omitempty"`       // what the plan is then
	Unrun    bool   `json:"unrun,omitempty"`     // only a hook has touched the data
	DataBack bool   `json:"data_back,omitempty"` // that was done, or could not be
	Archive  string `json:"archive,omitempty"`   // made of the snapshot

	Downtime Downtime `json:"downtime,omitzero"`
}

// Fork is a change of the chain's rules that a binary knows: at a block, or at a
// time.
type Fork struct {
	Name   string    `json:"name"`
	Height uint64    `json:"height,omitempty"`
	Time   time.Time `json:"time,omitzero"` // then Height says nothing
}

func (f Fork) equal(o Fork) bool {
	return f.Name == o.Name && f.Height == o.Height && f.Time.Equal(o.Time)
}

// Downtime is how long the node was down for a switch, in parts.
type Downtime struct {
	Stop     time.Duration `json:"stop"`
	Snapshot time.Duration `json:"snapshot"`
	Hook     time.Duration `json:"hook"`
	Start    time.Duration `json:"start"`
}

// Total is from the order to stop until the new binary runs.
func (d Downtime) Total() time.Duration { return d.Stop + d.Snapshot + d.Hook + d.Start }
