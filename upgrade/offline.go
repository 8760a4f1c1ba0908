package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// CheckJournal says what is wrong with the journal, without changing anything:
// a newer program wrote it, it cannot be read, or it is missing beside upgrades.
func (h Home) CheckJournal() error {
	data, err := os.ReadFile(h.journal())
	if errors.Is(err, fs.ErrNotExist) {
		if upgrades, _ := os.ReadDir(filepath.Join(h.Dir(), "upgrades")); len(upgrades) > 0 && h.LaidOut() {
			return fmt.Errorf("journal %s is missing beside %d upgrades", h.journal(), len(upgrades))
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	if err := newer(h.journal(), data); err != nil {
		return err
	}
	if _, err := decodeState(data); err != nil {
		return fmt.Errorf("journal %s cannot be read: %w", h.journal(), err)
	}
	return nil
}

// Pending returns those of the filings that are still to come: foreign files stay
// where they are when their plan was applied, or cancelled. A journal that cannot be
// read leaves them all.
func (h Home) Pending(filings []Filing) []Filing {
	data, err := os.ReadFile(h.journal())
	if err != nil {
		return filings
	}
	s, err := decodeState(data)
	if err != nil {
		return filings
	}
	var left []Filing
	for _, f := range filings {
		r := s.record(f.Name)
		switch v, _ := s.judge(f, filings, h.Current()); {
		case v == accept || v == replace || v == held, r != nil && r.Stage.Pending():
			left = append(left, f)
		}
	}
	return left
}

// newer returns [ErrNewer] for a journal that this program cannot know how to read.
func newer(file string, data []byte) error {
	var head struct {
		Schema int    `json:"schema"`
		Writer string `json:"writer"`
	}
	if json.Unmarshal(data, &head) == nil && head.Schema > schema {
		return fmt.Errorf("journal %s: %w, %s (schema %d, this one knows %d); run that version, or restore the volume from before it",
			file, ErrNewer, head.Writer, head.Schema, schema)
	}
	return nil
}

// Staged is where the binary of an upgrade lies, or is expected.
func (h Home) Staged(name string) string { return h.binary("upgrades/" + name) }

// Visit opens the journal of a volume that nobody supervises and takes up what
// lies on it, for List, Schedule, Prepare, Cancel and Retry. The caller has
// locked the volume. Nothing is repaired: that is Recover's, before the next
// first start.
func (u *Upgrader) Visit() error {
	if _, err := u.journal.Open(); err != nil {
		return err
	}
	u.Look()
	return nil
}

// Prepare prepares a pending plan without Run, and returns how that went.
func (u *Upgrader) Prepare(ctx context.Context, name string) (Entry, error) {
	u.turn.Lock()
	defer u.turn.Unlock()
	if r := u.journal.read().record(name); r != nil && r.Stage.Pending() && !r.Held {
		u.enter(name, Preparing, "", nil)
		in, err := u.prepare(ctx, r)
		if ctx.Err() != nil {
			return Entry{}, ctx.Err()
		}
		u.prepared(r, in, err)
	}
	return u.Entry(name)
}
