package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// snapshotVersion is the version of SNAPSHOT.json that this program writes, and
// the highest that it reads.
const snapshotVersion = 1

const (
	snapshotFile = "SNAPSHOT.json"
	mirrorFolder = "tree"
	roomFile     = "room"
	ledgerFirst  = "ledger"
	ledgerSecond = "ledger.window"
)

// How the files that the node never changes are taken.
const (
	ByLink    = "link"    // a second name: no bytes
	ByReflink = "reflink" // a file that shares its blocks: no bytes until they differ
	ByCopy    = "copy"    // all bytes again, before the node stops
)

// Snapshot is a committed rollback point.
type Snapshot struct {
	Version int       `json:"version"`
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Reason  string    `json:"reason"`
	Origin  Origin    `json:"origin"`

	Method string        `json:"method"` // [ByLink], [ByReflink] or [ByCopy]
	Files  int           `json:"files"`
	Linked int           `json:"linked"` // of Files, those that share an inode with the node's
	Bytes  int64         `json:"bytes"`  // of all files
	Copied int64         `json:"copied"` // of Bytes, what was written anew in the window
	Window time.Duration `json:"window"` // how long Commit took, in nanoseconds; on the volume: until it was written, to be synced

	Kept     []string   `json:"kept"`     // the identity that was there, and is not part of it
	Excluded []Excluded `json:"excluded"` // what else is not
	Warnings []string   `json:"warnings"`

	// Partial says what of the node's data is missing; then [Snapshotter.Rollback]
	// refuses. Empty: nothing is.
	Partial string `json:"partial,omitempty"`

	// Root is the mirror tree, to be archived: the node's data as it was.
	Root string `json:"-"`
}

// readSnapshot reads the snapshot in folder.
func readSnapshot(folder string) (Snapshot, error) {
	id := filepath.Base(folder)
	text, err := os.ReadFile(filepath.Join(folder, snapshotFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Snapshot{}, fmt.Errorf("read snapshot %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("read snapshot %s: %w", id, err)
	}
	var s Snapshot
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read snapshot %s: %w: %w", id, ErrCorrupt, err)
	}
	if s.Version > snapshotVersion {
		return s, fmt.Errorf("read snapshot %s: it is of version %d, and this wemixvisor reads up to %d; use the newer one", id, s.Version, snapshotVersion)
	}
	if s.ID != id || s.Version < 1 {
		return s, fmt.Errorf("read snapshot %s: %w: it says it is %q", id, ErrCorrupt, s.ID)
	}
	s.Root = filepath.Join(folder, mirrorFolder)
	return s, nil
}

// partial words the losses of a walk.
func partial(excluded []Excluded) string {
	for _, e := range excluded {
		if e.Loss {
			return fmt.Sprintf("%s is %s", e.Path, e.Why)
		}
	}
	return ""
}
