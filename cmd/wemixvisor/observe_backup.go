package main

import "github.com/wemix/wemixvisor/upgrade"

// backup adds what is known of backups.
func (e *exposition) backup(f upgrade.BackupFigures) {
	if v := f.LastVerified; v != nil {
		e.gauge("backup_bytes", "Size of the last verified backup.", point{labels: label("kind", v.Kind), value: float64(v.Bytes)})
		e.gauge("backup_last_success_timestamp_seconds", "When the last verified backup was made, Unix time.", point{value: float64(v.Created.Unix())})
	}
	if f.Took > 0 {
		e.gauge("backup_duration_seconds", "How long the last backup took, archive and verification included.", point{value: f.Took.Seconds()})
	}
	if f.Down > 0 {
		e.gauge("backup_downtime_seconds", "How long the node was down for the last backup.", point{value: f.Down.Seconds()})
	}
	e.counter("backup_failures_total", "Backups that failed.", point{value: float64(f.Failures)})
	e.gauge("snapshots", "Rollback points on the volume.", point{value: float64(f.Snapshots)})
}
