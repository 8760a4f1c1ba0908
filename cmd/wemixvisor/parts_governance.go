package main

import (
	"path/filepath"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/upgrade/governance"
)

// buildGovernance makes what follows a network's votes, where that is wanted.
func (p *parts) buildGovernance() {
	s := p.s
	if !s.governanceOn() {
		return
	}
	p.governance = governance.New(governance.Config{
		Source:        s.governanceSource,
		Address:       s.governanceAddress,
		Event:         s.governanceEvent,
		Confirmations: s.governanceConfirmations,
		RPC:           s.rpcAddress,
		IPC:           filepath.Join(s.dataDir, "*.ipc"),
		Home:          p.home,
		Facts:         p.follower.Facts,
		Logger:        p.log("governance"),
		OnEvent: func(e governance.Event) {
			p.happened.voted(e)
			p.hub.Publish(api.TopicUpgrade, e)
		},
	})
}

// governed is what is known of votes now.
func (p *parts) governed() governance.Status {
	if p.governance == nil {
		return governance.Status{
			State: governance.Off, Reason: "set governance-source (DAEMON_GOVERNANCE_SOURCE)", Source: governance.Off,
			Confirmations: p.s.governanceConfirmations, Proposals: []governance.Proposal{},
		}
	}
	return p.governance.Status()
}
