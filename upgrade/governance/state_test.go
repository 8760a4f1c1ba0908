package governance

import (
	"fmt"
	"testing"
)

func TestOldProposalsAreForgotten(t *testing.T) {
	t.Parallel()
	s := &state{}
	s.Proposals = append(s.Proposals, Proposal{ID: "plan", Stage: Scheduled, Block: 1, Settled: true}, Proposal{ID: "due", Stage: Passed, Block: 2})
	for i := range uint64(2 * maxProposals) {
		s.Proposals = append(s.Proposals, Proposal{ID: fmt.Sprint(i), Stage: Rejected, Block: 10 + i, Settled: true})
	}
	s.trim()
	if have, want := len(s.Proposals), maxProposals+2; have != want {
		t.Errorf("want %d, have %d", want, have)
	}
	for _, id := range []string{"plan", "due", fmt.Sprint(2*maxProposals - 1)} {
		if find(s.Proposals, id) == nil {
			t.Errorf("want %s kept", id)
		}
	}
}

func TestCheckedBlocksThinOut(t *testing.T) {
	t.Parallel()
	s := &state{}
	for n := range uint64(100_000) {
		s.checked(block{Number: n})
		if len(s.Checked) > maxChecked {
			t.Fatalf("want at most %d, have %d", maxChecked, len(s.Checked))
		}
	}
	for i, b := range s.Checked[1:] {
		if b.Number <= s.Checked[i].Number {
			t.Fatalf("want them to rise, have %v", s.Checked)
		}
	}
	if s.Checked[0].Number != 0 || s.Next != 100_000 {
		t.Errorf("have %d, %d", s.Checked[0].Number, s.Next)
	}
	s.Proposals = []Proposal{{ID: "1", Block: s.Checked[5].Number}, {ID: "2", Block: s.Checked[5].Number + 1}}
	if gone := s.back(5); len(gone) != 1 || gone[0].ID != "2" || s.Next != s.Checked[5].Number+1 || len(s.Checked) != 6 {
		t.Errorf("have %+v, next %d", gone, s.Next)
	}
}
