package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/wemix/wemixvisor/upgrade/governance"
)

// governanceSettings say whose votes are followed.
type governanceSettings struct {
	governanceSource        string
	governanceAddress       string
	governanceEvent         string
	governanceConfirmations uint64
}

// maxConfirmations is a day at one block a second.
const maxConfirmations = 86400

func (s *governanceSettings) define(r *reader) {
	r.word(&s.governanceSource, "governance-source", "off", "whose votes for upgrades are followed: off, wemix (go-wemix's ballots), or contract (any with the interface in the README)", "off", governance.SourceWemix, governance.SourceContract)
	r.add("governance-address", "", "address of the contract; for wemix that of the registry (default: the node says it)", func(text string) error {
		s.governanceAddress = text
		if text == "" {
			return nil
		}
		return governance.CheckAddress(text)
	})
	r.add("governance-event", governance.DefaultEvent, "name of the contract's event; its parameters are uint256 id, uint256 state", func(text string) error {
		s.governanceEvent = text
		return governance.CheckEvent(text)
	})
	r.add("governance-confirmations", "12", "blocks on top of a vote before its plan is filed", func(text string) error {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || n > maxConfirmations {
			return fmt.Errorf("%q is no whole number from 0 to %d", text, maxConfirmations)
		}
		s.governanceConfirmations = n
		return nil
	})
}

func (s *governanceSettings) complete() error {
	if s.governanceSource == governance.SourceContract && s.governanceAddress == "" {
		return errors.New("governance-source (DAEMON_GOVERNANCE_SOURCE): contract needs a governance-address (DAEMON_GOVERNANCE_ADDRESS)")
	}
	return nil
}

func (s *governanceSettings) governanceOn() bool { return s.governanceSource != "off" }
