package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/wemix/wemixvisor/backup"
	"github.com/wemix/wemixvisor/upgrade"
)

// backupSettings say how backups are made, and how long they stay.
type backupSettings struct {
	backupSchedule       time.Duration
	backupLevel          int
	backupWorkers        int
	backupRate           int64
	backupRequireArchive string
	backupKeepFull       int
	backupKeepDays       int
	backupMinFree        backup.Floor
	backupIncludeSecrets bool
	alertBackupAge       time.Duration
}

func (s *backupSettings) define(r *reader) {
	r.add("backup-schedule", "off", "time between two backups, each up to a tenth later: the node is stopped for a moment and its archive made beside it; off", func(text string) error {
		s.backupSchedule = 0
		if text == "off" {
			return nil
		}
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return fmt.Errorf("%q is neither off nor a duration such as 24h", text)
		}
		s.backupSchedule = d
		return nil
	})
	r.add("backup-level", "1", "zstd level of archives, 1 (fastest) to 22", func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 22 {
			return fmt.Errorf("%q is no level from 1 to 22", text)
		}
		s.backupLevel = n
		return nil
	})
	r.add("backup-workers", "auto", "processors that compress and decode; auto: one while the node runs, else all", func(text string) error {
		s.backupWorkers = 0
		if text == "auto" {
			return nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is neither auto nor a whole number from 1 up", text)
		}
		s.backupWorkers = n
		return nil
	})
	r.add("backup-rate", "auto", "most that is read for an archive in a second, such as 50MiB; auto: it pauses when others wait for the disk", func(text string) (err error) {
		s.backupRate = 0
		if text == "auto" {
			return nil
		}
		if s.backupRate, err = parseBytes(text); err == nil && s.backupRate == 0 {
			err = fmt.Errorf("%q is no rate; for no limit: auto", text)
		}
		return err
	})
	r.word(&s.backupRequireArchive, "backup-require-archive", upgrade.ArchiveAfter, "when an archive is made of an upgrade's snapshot: after it, before it (or it does not happen), never",
		upgrade.ArchiveAfter, upgrade.ArchiveBefore, upgrade.ArchiveNever)
	r.count(&s.backupKeepFull, "backup-keep-full", 2, "newest backups that stay; the last verified one, and those before the last two upgrades, always do")
	r.count(&s.backupKeepDays, "backup-keep-days", 0, "backups of so many days stay too; 0: age keeps none")
	r.add("backup-min-free", "5%", "room that stays the node's, of a disk or as an amount such as 20GiB: below it no snapshot and no archive is made (5% is at least 1GiB)", func(text string) (err error) {
		s.backupMinFree, err = parseFloor(text)
		return err
	})
	r.truth(&s.backupIncludeSecrets, "backup-include-secrets", false, "archives hold the node's identity too: nodekey, keystore, jwtsecret, etcd")
	r.duration(&s.alertBackupAge, "alert-backup-age", 0, 0, "alert when the last verified backup is older; 0: twice backup-schedule, and none without one")
}

// policy is what can change while the node runs.
func (s *backupSettings) policyOfBackups() upgrade.BackupPolicy {
	return upgrade.BackupPolicy{
		Schedule: s.backupSchedule, Level: s.backupLevel, Workers: s.backupWorkers, Rate: s.backupRate,
		IncludeSecrets: s.backupIncludeSecrets,
		Keep:           backup.Policy{KeepFull: s.backupKeepFull, KeepDays: s.backupKeepDays},
	}
}

// oldestBackup is from which age on the last backup is too old; 0: never.
func (s *backupSettings) oldestBackup() time.Duration {
	if s.alertBackupAge > 0 {
		return s.alertBackupAge
	}
	return 2 * s.backupSchedule
}

// parseFloor reads a share of a disk, or an amount.
func parseFloor(text string) (backup.Floor, error) {
	share, isShare := strings.CutSuffix(text, "%")
	if !isShare {
		n, err := parseBytes(text)
		return backup.Floor{Bytes: max(n, 1)}, err // 1: no room at all, where the zero value means the default
	}
	f, err := strconv.ParseFloat(share, 64)
	switch {
	case err != nil || !(f >= 0 && f < 100):
		return backup.Floor{}, fmt.Errorf("%q is neither a share such as 5%% nor an amount such as 20GiB", text)
	case f == 5:
		return backup.Floor{}, nil
	}
	return backup.Floor{Percent: f, Bytes: 1}, nil
}

// units are those of amounts; who writes MB means what disks are sold by.
var units = []struct {
	name string
	size float64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"K", 1 << 10},
	{"M", 1 << 20},
	{"G", 1 << 30},
	{"T", 1 << 40},
	{"B", 1},
	{"", 1},
}

// parseBytes reads an amount of bytes.
func parseBytes(text string) (int64, error) {
	for _, unit := range units {
		number, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(f >= 0) || f*unit.size >= math.MaxInt64 {
			break
		}
		return int64(f * unit.size), nil
	}
	return 0, fmt.Errorf("%q is no amount such as 50MiB", text)
}
