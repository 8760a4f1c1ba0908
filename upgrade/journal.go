package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/backup/durable"
	"github.com/wemix/wemixvisor/backup/failpoint"
)

// schema is the version of the journal's form. A program that finds a higher
// one must not touch the volume: it does not know what was being done.
const schema = 1

// ErrNewer says that a newer wemixvisor wrote the journal.
var ErrNewer = errors.New("written by a newer wemixvisor")

// state is what the journal holds. Once published it is not changed.
type state struct {
	Schema  int             `json:"schema"`
	Writer  string          `json:"writer"` // version of the wemixvisor that wrote it
	Seen    map[string]Seen `json:"seen"`   // every binary this volume has held, by sha256
	Node    nodeMark        `json:"node"`
	Custody string          `json:"custody,omitempty"` // the data directory the node was seen to work in
	Image   imageMark       `json:"image,omitzero"`
	Lost    bool            `json:"lost,omitempty"` // and not looked at the volume since
	Records []*Record       `json:"plans"`          // pending and finished, in the order they came
}

// Seen is a binary that the volume has held.
type Seen struct {
	Name    string    `json:"name"` // genesis, or the upgrade
	Version string    `json:"version,omitempty"`
	At      time.Time `json:"at"`
}

// nodeMark is how the node was left by the last supervisor.
type nodeMark struct {
	Clean  bool      `json:"clean"` // it had ended, and had written all it knew
	Height uint64    `json:"height"`
	Hash   string    `json:"hash,omitempty"`
	Known  bool      `json:"known,omitempty"` // there was a head
	At     time.Time `json:"at"`
}

// imageMark spares hashing the same bundled binary at each start.
type imageMark struct {
	File   fileID `json:"file"`
	SHA256 string `json:"sha256"`
}

// record returns the newest record of that name, or nil.
func (s *state) record(name string) *Record {
	for _, r := range slices.Backward(s.Records) {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// active returns the record whose switch is under way, or nil.
func (s *state) active() *Record {
	for _, r := range s.Records {
		if r.Stage == Switching || r.Stage == Confirming {
			return r
		}
	}
	return nil
}

// keptRecords bounds the finished plans that are kept.
const keptRecords = 1000

// Journal is what was being done and what was done, in one file that is
// replaced, and on disk, before each step that follows.
type Journal struct {
	file   string
	writer string

	// Held across a write: the upgrader's loop, its preparations and the steps of
	// a change all write, and each goes on only when its entry is on disk.
	mu    sync.Mutex
	data  []byte // what is on disk, or should be
	dirty bool   // it should be: the last write failed

	state atomic.Pointer[state]
}

// Opening is what was found when the journal was opened.
type Opening int

// A fresh volume has not been taken stock of; one that has upgrades but no
// journal, or one that cannot be read, has lost it.
const (
	Found Opening = iota
	Fresh
	Lost
)

// errNotOpened is what a journal says before Open.
var errNotOpened = errors.New("the journal of upgrades is not open yet")

// NewJournal returns the journal of home, to be opened. Until then it is empty.
func NewJournal(home Home, writer string) *Journal {
	j := &Journal{file: home.journal(), writer: writer}
	j.state.Store(&state{Seen: map[string]Seen{}})
	return j
}

// Open reads the journal. One that is lost is begun anew, and the unreadable one
// kept beside it; the error tells why, with an Opening of Lost. Any other error
// means that the volume must be left alone.
func (j *Journal) Open() (Opening, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	data, err := os.ReadFile(j.file)
	if errors.Is(err, fs.ErrNotExist) {
		upgrades, err := os.ReadDir(filepath.Join(filepath.Dir(j.file), "upgrades"))
		j.reset()
		if err == nil && len(upgrades) > 0 {
			return Lost, fmt.Errorf("journal %s is missing beside %d upgrades", j.file, len(upgrades))
		}
		return Fresh, nil
	}
	if err != nil {
		return Found, fmt.Errorf("read journal: %w", err)
	}
	if err := newer(j.file, data); err != nil {
		return Found, err
	}
	s, err := decodeState(data)
	if err != nil {
		kept := j.file + ".unreadable"
		if rerr := os.Rename(j.file, kept); rerr != nil {
			return Found, fmt.Errorf("put unreadable journal aside: %w", rerr)
		}
		j.reset()
		return Lost, fmt.Errorf("journal cannot be read, and is kept as %s: %w", kept, err)
	}
	j.data = data
	j.state.Store(s)
	if len(s.Seen) == 0 {
		return Fresh, nil
	}
	return Found, nil
}

// journal is the file of the journal.
func (h Home) journal() string { return filepath.Join(h.Dir(), "journal.json") }

// beginJournal makes a journal that knows nothing yet. A volume that is laid out
// has one from then on: that it is missing later means that it was lost.
func (h Home) beginJournal() error {
	if _, err := os.Stat(h.journal()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := WriteJSON(h.journal(), state{Schema: schema}, "journal.begun"); err != nil {
		return fmt.Errorf("begin journal: %w", err)
	}
	return nil
}

func decodeState(data []byte) (*state, error) {
	s := &state{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, err
	}
	if s.Schema < 1 {
		return nil, fmt.Errorf("schema %d was never written", s.Schema)
	}
	if s.Seen == nil {
		s.Seen = map[string]Seen{}
	}
	for i, r := range s.Records {
		if r == nil {
			return nil, fmt.Errorf("plan %d is null", i)
		}
		if err := ValidName(r.Name); err != nil {
			return nil, err
		}
		if r.Switch == nil && (r.Stage == Switching || r.Stage == Confirming) {
			return nil, fmt.Errorf("plan %s is %s from nowhere", r.Name, r.Stage)
		}
	}
	return s, nil
}

func (j *Journal) reset() {
	s := &state{Schema: schema, Writer: j.writer, Seen: map[string]Seen{}}
	j.data, _ = json.Marshal(s)
	j.state.Store(s)
}

// copy returns what the journal holds now, to be changed at will.
func (j *Journal) copy() (*state, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.data == nil {
		return nil, errNotOpened
	}
	return decodeState(j.data)
}

// read returns what the journal holds now. It is not to be changed.
func (j *Journal) read() *state { return j.state.Load() }

// update changes the journal by edit. When it fails, nothing has changed, and
// what was to follow must not be done.
func (j *Journal) update(edit func(*state)) error { return j.change(edit, false) }

// note changes the journal by edit even when the disk does not take it: for what
// has happened already. The error is to be reported; flush tries again.
func (j *Journal) note(edit func(*state)) error { return j.change(edit, true) }

func (j *Journal) change(edit func(*state), anyway bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.data == nil {
		return errNotOpened
	}
	s, err := decodeState(j.data) // a copy of its own
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	edit(s)
	s.Schema, s.Writer = schema, j.writer
	s.trim()
	data, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	err = j.write(data)
	if err == nil || anyway {
		j.data, j.dirty = data, err != nil
		j.state.Store(s)
	}
	return err
}

// flush writes what note could not.
func (j *Journal) flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.dirty {
		return nil
	}
	err := j.write(j.data)
	j.dirty = err != nil
	return err
}

// trim forgets the oldest finished plans.
func (s *state) trim() {
	extra := len(s.Records) - keptRecords
	s.Records = slices.DeleteFunc(s.Records, func(r *Record) bool {
		if extra <= 0 || !r.Stage.Over() {
			return false
		}
		extra--
		return true
	})
}

// write replaces the file. It writes into room that was set aside by the write
// before, so that on a disk that has filled up since, the step that is under
// way can still be noted, and undone.
func (j *Journal) write(data []byte) error {
	err := func() error {
		f, err := os.OpenFile(j.spare(), os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := f.WriteAt(data, 0); err != nil {
			return err
		}
		if err := f.Truncate(int64(len(data))); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		failpoint.At("journal.written")
		if err := os.Rename(j.spare(), j.file); err != nil {
			return err
		}
		failpoint.At("journal.renamed")
		return durable.SyncDir(filepath.Dir(j.file))
	}()
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	j.reserve(len(data))
	return nil
}

func (j *Journal) spare() string {
	return filepath.Join(filepath.Dir(j.file), ".journal.spare")
}

// reserve sets room aside for the next write, as much as can be had.
func (j *Journal) reserve(size int) {
	f, err := os.OpenFile(j.spare(), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	for _, room := range []int{size + 32<<10, size + 4<<10, size} {
		if unix.Fallocate(int(f.Fd()), 0, 0, int64(room)) == nil {
			return
		}
	}
}
