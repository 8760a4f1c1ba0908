package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wemix/wemixvisor/backup/durable"
	"github.com/wemix/wemixvisor/backup/failpoint"
)

// swapVersion is the version of swap.json that this program writes, and the
// highest that it reads.
const swapVersion = 1

// Kinds of swap: which folder's data comes in.
const (
	swapRollback = "rollback" // a snapshot's
	swapReplace  = "replace"  // a restored archive's
)

// swap is the exchange of the live data for other data on the same file system,
// as swap.json holds it from before the first rename to after the last. Every step
// can be told from what lies where, so it may be broken off anywhere and gone
// through again: first all moves out, then, those durable, all moves in.
//
// It is a list of moves, not one, because something must stay: the root may be a
// mount point, folders of ours lie in it, and the node's identity lies in folders
// whose other content goes back. What must stay is not moved and moved back: it is
// never touched.
type swap struct {
	Version int       `json:"version"`
	Kind    string    `json:"kind"`
	ID      string    `json:"id"`     // of the snapshot or the archive
	From    fileName  `json:"from"`   // the incoming tree, relative to .wemixvisor
	Failed  string    `json:"failed"` // the folder in failed/ to which the live data goes
	Begun   time.Time `json:"begun"`
	Origin  Origin    `json:"origin"`
	Back    bool      `json:"back"` // it could not be finished, and is being undone

	Moves   []move       `json:"moves"`
	Folders []swapFolder `json:"folders"` // that stay, while their content moves; each before what is in it
	Kept    []fileName   `json:"kept"`    // must be there afterwards
}

// move is one entry to exchange, by its path relative to the root.
type move struct {
	Path fileName `json:"path"`
	Out  bool     `json:"out,omitempty"` // there is a live one
	In   bool     `json:"in,omitempty"`  // there is an incoming one
}

// swapFolder is a folder that stays, with what it was and what it is to be.
type swapFolder struct {
	Path fileName `json:"path"`
	Was  look     `json:"was"`
	Now  look     `json:"now"`
}

type look struct {
	Mode fs.FileMode `json:"mode"`
	UID  int         `json:"uid"`
	GID  int         `json:"gid"`
	Time int64       `json:"time"` // of modification, ns
}

func lookOf(e Entry) look {
	return look{Mode: e.Mode, UID: e.UID, GID: e.GID, Time: e.ModTime.UnixNano()}
}

func (l look) entry() Entry {
	return Entry{Mode: l.Mode, UID: l.UID, GID: l.GID, ModTime: time.Unix(0, l.Time)}
}

// readSwap reads the journal; fs.ErrNotExist says that no swap is under way.
func readSwap(file string) (*swap, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return parseSwap(file, text)
}

// parseSwap takes nothing for a journal that would move what is not the data's.
func parseSwap(file string, text []byte) (*swap, error) {
	var j swap
	if err := json.Unmarshal(text, &j); err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", file, ErrCorrupt, err)
	}
	if j.Version > swapVersion {
		return nil, fmt.Errorf("read %s: it is of version %d, and this wemixvisor reads up to %d; use the newer one", file, j.Version, swapVersion)
	}
	for _, p := range j.paths() {
		if !filepath.IsLocal(string(p)) {
			return nil, fmt.Errorf("read %s: %w: it names %q", file, ErrCorrupt, p)
		}
	}
	from := strings.Split(string(j.From), "/")
	known := len(from) > 1 && (from[0] == "snapshots" || from[0] == "incoming") && path.Clean(string(j.From)) == string(j.From)
	if _, _, _, ok := ParseID(j.Failed); !ok || !known {
		return nil, fmt.Errorf("read %s: %w: it moves from %q to %q", file, ErrCorrupt, j.From, j.Failed)
	}
	return &j, nil
}

func (j *swap) paths() []fileName {
	var all []fileName
	for _, m := range j.Moves {
		all = append(all, m.Path)
	}
	for _, f := range j.Folders {
		all = append(all, f.Path)
	}
	return append(all, j.Kept...)
}

// exchange is a swap at work: where the three trees are.
type exchange struct {
	*swap
	site                 *site
	live, incoming, away string
}

func (s *site) exchange(j *swap) *exchange {
	return &exchange{
		swap: j, site: s, live: s.tree.Root,
		incoming: filepath.Join(s.ours, string(j.From)), away: filepath.Join(s.failed(), j.Failed),
	}
}

// run finishes the swap, or, if that is what the journal says, undoes it. A swap
// that cannot be finished is undone: the node then starts on what it had. If that
// cannot be done either, nothing may start: [ErrUnfinished].
func (x *exchange) run() error {
	if x.Back {
		return x.undo(nil)
	}
	if err := x.forward(); err != nil {
		x.Back = true
		if werr := writeJSON(x.site.journal(), x.swap); werr != nil {
			return fmt.Errorf("%w: %w; then: %w", ErrUnfinished, err, werr)
		}
		return x.undo(err)
	}
	return nil
}

func (x *exchange) forward() error {
	for _, m := range x.Moves {
		if m.Out {
			gone, err := there(filepath.Join(x.away, string(m.Path)))
			if err == nil && !gone {
				err = rename(x.live, x.away, m.Path)
			}
			if err != nil {
				return err
			}
			failpoint.At("backup.swap-out")
		}
	}
	// The way out is durable before anything comes in: else after a loss of power
	// it could not be told whether what is live is what was there or what came.
	if err := x.sync(x.away, x.live); err != nil {
		return err
	}
	failpoint.At("backup.swap-all-out")
	for _, m := range x.Moves {
		if m.In {
			waits, err := there(filepath.Join(x.incoming, string(m.Path)))
			if err == nil && waits {
				err = rename(x.incoming, x.live, m.Path)
			}
			if err != nil {
				return err
			}
			failpoint.At("backup.swap-in")
		}
	}
	failpoint.At("backup.swap-all-in")
	if err := x.dress(x.live, func(f swapFolder) look { return f.Now }); err != nil {
		return err
	}
	_ = x.dress(x.away, func(f swapFolder) look { return f.Was }) // of interest to people alone
	return x.sync(x.live, x.incoming)
}

func rename(from, to string, path fileName) error {
	return os.Rename(filepath.Join(from, string(path)), filepath.Join(to, string(path)))
}

// undo puts back what forward did. Its cause is the error that forward ended with.
func (x *exchange) undo(cause error) error {
	failpoint.At("backup.swap-undo")
	err := x.backward()
	if err == nil {
		err = x.close(x.away)
	}
	if err != nil {
		return fmt.Errorf("%w: %w; it could not be undone either: %w", ErrUnfinished, cause, err)
	}
	return cause
}

func (x *exchange) backward() error {
	for _, m := range slices.Backward(x.Moves) {
		if m.In {
			waits, err := there(filepath.Join(x.incoming, string(m.Path)))
			if err == nil && !waits {
				err = rename(x.live, x.incoming, m.Path)
			}
			if err != nil {
				return err
			}
			failpoint.At("backup.undo-in")
		}
	}
	if err := x.sync(x.live, x.incoming); err != nil {
		return err
	}
	for _, m := range slices.Backward(x.Moves) {
		if m.Out {
			gone, err := there(filepath.Join(x.away, string(m.Path)))
			if err == nil && gone {
				err = rename(x.away, x.live, m.Path)
			}
			if err != nil {
				return err
			}
			failpoint.At("backup.undo-out")
		}
	}
	if err := x.dress(x.live, func(f swapFolder) look { return f.Was }); err != nil {
		return err
	}
	return x.sync(x.live, x.away)
}

// dress gives the folders that stay their modes and times. The root is the
// volume's, not the data's: it stays as it is.
func (x *exchange) dress(root string, to func(swapFolder) look) error {
	for _, f := range slices.Backward(x.Folders) {
		if f.Path == "." {
			continue
		}
		err := dressFolder(filepath.Join(root, string(f.Path)), to(f).entry())
		if err != nil && !errors.Is(err, fs.ErrPermission) { // somebody else's folder, that we may write to
			return err
		}
	}
	return nil
}

// sync makes durable the folders of the given trees in which names were changed.
func (x *exchange) sync(roots ...string) error {
	for _, root := range roots {
		for _, f := range x.Folders {
			dir := filepath.Join(root, string(f.Path))
			if !exists(dir) { // an incoming tree need not have every folder that stays
				continue
			}
			if err := durable.SyncDir(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// close ends the swap: what is left over of it goes out of sight, and then the
// journal is removed, so whatever is not yet deleted is swept at the next start.
func (x *exchange) close(leftover string) error {
	if err := setAside(leftover, x.site.mounts); err != nil && !errors.Is(err, fs.ErrNotExist) { // done before
		return err
	}
	if err := durable.SyncDir(filepath.Dir(leftover)); err != nil {
		return err
	}
	failpoint.At("backup.swap-left")
	if err := os.Remove(x.site.journal()); err != nil {
		return err
	}
	failpoint.At("backup.swap-closed")
	return durable.SyncDir(x.site.ours)
}

// leftover is the folder that is empty, or of no use, once the swap is done.
func (x *exchange) leftover() string {
	parts := strings.SplitN(string(x.From), "/", 3)
	return filepath.Join(x.site.ours, parts[0], parts[1])
}

// makeAway makes the folders to which the live data goes: those that stay in the
// live tree, with their modes.
func (x *exchange) makeAway() error {
	if err := makeFolders(filepath.Dir(x.away)); err != nil {
		return err
	}
	for _, f := range x.Folders {
		dir := filepath.Join(x.away, string(f.Path))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if err := durable.SyncDir(path.Dir(dir)); err != nil {
			return err
		}
	}
	return nil
}
