package main

import (
	"fmt"
	"time"
)

// validatorSettings say what is owed to a network that needs this node.
type validatorSettings struct {
	validatorMode     bool
	gateTimeout       time.Duration
	gatePolicy        string
	gateDowntime      time.Duration
	allowRemoteVolume bool
	alertRollout      int
}

// gateHold is the policy that waits on; the other one proceeds.
const gateHold = "hold"

func (s *validatorSettings) define(r *reader) {
	r.truth(&s.validatorMode, "validator-mode", false, "before every planned stop wait until the network can do without this validator")
	r.duration(&s.gateTimeout, "gate-timeout", 30*time.Minute, 0, "how long a planned stop of a validator waits for its network; a turn of each validator must fit in")
	r.word(&s.gatePolicy, "gate-policy", "proceed", "what happens after gate-timeout: proceed stops the node all the same, hold waits on", "proceed", gateHold)
	r.duration(&s.gateDowntime, "gate-downtime", time.Minute, time.Second, "the longest a validator is away for a planned stop, from which the turns are reckoned: must be alike in the whole network")
	r.truth(&s.allowRemoteVolume, "allow-remote-volume", false, "let validator-mode run on a network file system, where two machines may both believe that they have the volume, and sign twice")
	r.count(&s.alertRollout, "alert-rollout", 3600, "alert when a fork is so few blocks ahead and validators short of the quorum propose with a version that knows it; 0 does not look")
}

// remote refuses a validator's volume on which a lock may not be one. kind names
// a directory's file system where it is one of a network.
func (s *settings) remote(kind func(dir string) string) error {
	if !s.validatorMode || s.allowRemoteVolume {
		return nil
	}
	for _, dir := range []string{s.home, s.dataDir} {
		if kind := kind(dir); kind != "" {
			return usageError{fmt.Errorf("validator-mode: %s is on %s, where a lock may be held twice, and two nodes that sign with one key are punished; use a local disk, or set allow-remote-volume if nobody else can mount it", dir, kind)}
		}
	}
	return nil
}
