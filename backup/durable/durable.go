// Package durable makes what was written outlast a loss of power.
package durable

import (
	"fmt"
	"os"
)

// SyncDir makes the names in dir durable: a rename is on disk only when its
// directory is, fsync(2). A file's bytes it makes durable too.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
