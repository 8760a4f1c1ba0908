package main

import (
	"errors"
	"time"

	"github.com/wemix/wemixvisor/upgrade"
)

// upgradeSettings say how the node's binary is replaced.
type upgradeSettings struct {
	pollInterval         time.Duration
	restartAfterUpgrade  bool
	restartDelay         time.Duration
	skipBackup           bool
	snapshotKeep         time.Duration
	rollback             string
	imagePolicy          string
	confirmTimeout       time.Duration
	confirmTime          time.Duration
	confirmBlocks        int
	customPreupgrade     string
	preupgradeSubcommand bool
	preupgradeTimeout    time.Duration
	preupgradeMaxRetries int
	allowDownload        bool
	skipChecksum         bool
}

func (s *upgradeSettings) define(r *reader) {
	r.duration(&s.pollInterval, "poll-interval", 300*time.Millisecond, 0, "how often plan files are looked at and, near a height, the head; at most a hundred times a second")
	r.truth(&s.restartAfterUpgrade, "restart-after-upgrade", true, "false: switch, then exit 0; the trial runs at the next start")
	r.duration(&s.restartDelay, "restart-delay", 0, 0, "between an upgrade's stop and its start")
	r.truth(&s.skipBackup, "unsafe-skip-backup", false, "no snapshot before an upgrade: only the binary can go back")
	r.duration(&s.snapshotKeep, "snapshot-keep", 24*time.Hour, 0, "how long an upgrade's snapshot is kept once it is done")
	r.word(&s.rollback, "rollback", upgrade.RollbackAuto, "what goes back when a new binary fails its trial: auto (binary and data; a validator's binary alone), binary, never", upgrade.RollbackAuto, upgrade.RollbackBinary, upgrade.RollbackNever)
	r.word(&s.imagePolicy, "image-policy", upgrade.ImageAdopt, "what a new node binary in the image means: adopt (an upgrade due now), seed (only an empty volume takes it, and others are told), ignore", upgrade.ImageAdopt, upgrade.ImageSeed, upgrade.ImageIgnore)
	r.duration(&s.confirmTimeout, "confirm-timeout", 10*time.Minute, time.Second, "how long a new binary has for its trial; RPC silent by then: it goes back")
	r.duration(&s.confirmTime, "confirm-time", 30*time.Second, 0, "how long a new binary must have run to pass its trial")
	r.count(&s.confirmBlocks, "confirm-blocks", 1, "how many blocks past the old binary's head it must have got; 0: a chain that seals on demand")
	r.text(&s.customPreupgrade, "custom-preupgrade", "", "`script` that runs before the switch, node down, below $DAEMON_HOME/wemixvisor/ or absolute")
	r.truth(&s.preupgradeSubcommand, "preupgrade-subcommand", false, "run NEWBINARY pre-upgrade before the switch")
	r.duration(&s.preupgradeTimeout, "preupgrade-timeout", 5*time.Minute, time.Second, "how long each pre-upgrade hook may take before the upgrade is given up")
	r.count(&s.preupgradeMaxRetries, "preupgrade-max-retries", 0, "how often a hook that exits 31 is tried again")
	r.truth(&s.allowDownload, "allow-download-binaries", false, "fetch binaries from the URLs in plans")
	r.truth(&s.skipChecksum, "unsafe-skip-checksum", false, "fetch without a checksum in the plan; a mismatch is never accepted")
}

// complete refuses what does not go together.
func (s *upgradeSettings) complete() error {
	if s.confirmTime > s.confirmTimeout {
		return errors.New("confirm-time (DAEMON_CONFIRM_TIME): it is longer than confirm-timeout, so no upgrade could pass its trial")
	}
	return nil
}
