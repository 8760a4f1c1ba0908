package chain

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/go-kit/log/level"
)

// saveEvery bounds how often the state file is written while heads come in.
const saveEvery = 10 * time.Second

// state is what the next supervisor should know of this chain.
type state struct {
	Client  string    `json:"client,omitempty"`
	Version string    `json:"version,omitempty"`
	Kind    string    `json:"kind,omitempty"`
	ChainID uint64    `json:"chain_id,omitempty"`
	Genesis string    `json:"genesis,omitempty"`
	Height  uint64    `json:"height"`
	Hash    string    `json:"hash,omitempty"`
	Time    time.Time `json:"time"`
	Seen    time.Time `json:"seen"`
}

// restore reads the state file. One that is missing or makes no sense is as
// none: it is a memory, not a truth.
func (f *Follower) restore() {
	f.saved = time.Now()
	if f.cfg.StateFile == "" {
		return
	}
	known, err := Remembered(f.cfg.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		level.Warn(f.cfg.Logger).Log("msg", "last head unknown; starting without", "err", err)
		return
	}
	f.expected = known
	f.expected.Head = Head{}
	f.known = known
}

// Remembered returns what a state file knows of the chain.
func Remembered(file string) (Facts, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Facts{}, err
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return Facts{}, err
	}
	return Facts{
		Client: s.Client, Version: s.Version, Kind: s.Kind, ChainID: s.ChainID, Genesis: s.Genesis,
		Head: Head{Number: s.Height, Hash: s.Hash, Time: s.Time, Seen: s.Seen},
	}, nil
}

// save writes the state file. It is renamed into place, so a reader sees the
// old or the new one. It is not fsynced: after a power cut an empty file is
// possible and harmless, a disk that is slow to sync must not hold up heads.
func (f *Follower) save() {
	if f.cfg.StateFile == "" || !f.dirty {
		return
	}
	f.saved, f.dirty = time.Now(), false
	k := f.known
	data, err := json.Marshal(state{
		k.Client, k.Version, k.Kind, k.ChainID, k.Genesis,
		k.Head.Number, k.Head.Hash, k.Head.Time, k.Head.Seen,
	})
	if err == nil {
		tmp := f.cfg.StateFile + ".tmp"
		if err = os.WriteFile(tmp, append(data, '\n'), 0o644); err == nil {
			err = os.Rename(tmp, f.cfg.StateFile)
		}
	}
	if err != nil && !f.told["state"] { // a full disk has its own check
		f.told["state"] = true
		level.Warn(f.cfg.Logger).Log("msg", "last head not kept; going on without", "err", err)
	}
}
