package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/wemix/wemixvisor/upgrade/governance"
)

// ErrNoGovernance says that nobody follows votes, or that this node cannot tell
// of them.
var ErrNoGovernance = errors.New("governance is not followed")

func (s *Server) governance(*http.Request) (governance.Status, error) {
	return s.cfg.Governance(), nil
}

func (s *Server) proposals(*http.Request) ([]governance.Proposal, error) {
	st := s.cfg.Governance()
	if st.State == governance.Off || st.State == governance.NotOffered {
		return nil, fmt.Errorf("%w: %s", ErrNoGovernance, st.Reason)
	}
	return st.Proposals, nil
}

func (s *Server) proposal(r *http.Request) (governance.Proposal, error) {
	all, err := s.proposals(r)
	if err != nil {
		return governance.Proposal{}, err
	}
	id := r.PathValue("id")
	for _, p := range all {
		if p.ID == id {
			return p, nil
		}
	}
	return governance.Proposal{}, missing("no proposal %.80q", id)
}
