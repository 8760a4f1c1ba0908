package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wemix/wemixvisor/backup/durable"
)

// lost is what of the node's identity was missing after a swap, as
// identity-missing.json holds it from before that swap's journal is removed until all
// of it is back: a start of ours in between must not let the node make itself another.
// Whoever wants that deletes the file.
type lost struct {
	ID      string     `json:"id"` // of what the data went back to
	Since   time.Time  `json:"since"`
	Missing []fileName `json:"missing"`
}

func (s *site) lostFile() string { return filepath.Join(s.ours, "identity-missing.json") }

// Identity returns [ErrIdentity] as long as something of the node's identity is
// missing that a rollback or a restore has missed. The node must not start then.
func (s *Snapshotter) Identity() error {
	at, err := s.look()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for the node's identity: %w", err)
	}
	return at.identity()
}

func (s *site) identity() error {
	text, err := os.ReadFile(s.lostFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var l lost
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	if err != nil {
		return fmt.Errorf("%w, and what it was cannot be read: %w; see that nodekey and keystore are in place, then delete %s", ErrIdentity, err, s.lostFile())
	}
	var missing []string
	for _, p := range l.Missing {
		if !exists(s.tree.at(string(p))) {
			missing = append(missing, escapeName(string(p)))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w since the data went back to %s: %s; put it back before the node starts, or delete %s and it makes itself another",
			ErrIdentity, l.ID, strings.Join(missing, ", "), s.lostFile())
	}
	if err := os.Remove(s.lostFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the node's identity is back: %w", err)
	}
	return durable.SyncDir(s.ours)
}

// missing returns what of the identity is not there.
func (x *exchange) missing() []fileName {
	var gone []fileName
	for _, k := range x.Kept {
		if !exists(filepath.Join(x.live, string(k))) {
			gone = append(gone, k)
		}
	}
	return gone
}
