package governance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/wemix/wemixvisor/upgrade"
)

const (
	schema        = 1
	maxProposals  = 256 // kept
	maxChecked    = 64  // blocks kept, to find out how far a chain went back
	stateFileName = "governance.json"
)

// state is what the next supervisor must know: where to go on, and what was
// done about whom.
type state struct {
	Schema  int    `json:"schema"`
	Source  string `json:"source"`
	Address string `json:"address,omitempty"` // that was configured
	Event   string `json:"event,omitempty"`
	ChainID uint64 `json:"chain_id"`
	Genesis string `json:"genesis"`

	Begun     bool       `json:"begun"`
	First     uint64     `json:"first"` // block that was looked at
	Next      uint64     `json:"next"`  // block to be looked at
	From      uint64     `json:"from"`  // head when the following began
	Checked   []block    `json:"checked"`
	Proposals []Proposal `json:"proposals"`
}

// block is one as it was when it was looked at.
type block struct {
	Number uint64 `json:"number"`
	Hash   string `json:"hash"`
}

func stateFile(home upgrade.Home) string { return filepath.Join(home.Dir(), stateFileName) }

// load reads the state file. Of one that is not there it returns none.
func load(file string) (*state, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if s.Schema != schema {
		return nil, fmt.Errorf("read %s: schema %d is not %d", file, s.Schema, schema)
	}
	return &s, nil
}

// save writes it. When it returns nil, it is on disk.
func (s *state) save(file string) error {
	return upgrade.WriteJSON(file, s, "governance")
}

// trim forgets the oldest proposals where there are too many, save those of which
// something may have to be done.
func (s *state) trim() {
	if len(s.Proposals) <= maxProposals {
		return
	}
	slices.SortFunc(s.Proposals, newest)
	older := slices.DeleteFunc(s.Proposals[maxProposals:], func(p Proposal) bool {
		return p.Stage != Scheduled && (p.Settled || p.Stage != Passed)
	})
	s.Proposals = s.Proposals[:maxProposals+len(older)]
}

// checked notes that all blocks up to b were looked at. Of the older half it
// forgets every second one when there are many: how far a chain went back needs
// to be known the less exactly the further it is.
func (s *state) checked(b block) {
	s.Next = b.Number + 1
	s.Checked = append(s.Checked, b)
	if len(s.Checked) <= maxChecked {
		return
	}
	kept := s.Checked[:0]
	for i, c := range s.Checked {
		if i >= maxChecked/2 || i%2 == 0 {
			kept = append(kept, c)
		}
	}
	s.Checked = kept
}

// back returns to after the i-th of the checked blocks, or to the first with -1,
// and returns the proposals of which blocks above spoke.
func (s *state) back(i int) []*Proposal {
	s.Next = s.First
	if i >= 0 {
		s.Next = s.Checked[i].Number + 1
	}
	s.Checked = s.Checked[:i+1]
	var gone []*Proposal
	for n := range s.Proposals {
		if p := &s.Proposals[n]; p.last() >= s.Next {
			gone = append(gone, p)
		}
	}
	return gone
}
