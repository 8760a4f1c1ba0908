package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wemix/wemixvisor/backup"
	supervisor "github.com/wemix/wemixvisor/init"
)

// ErrCustody says that the data directory is not where the node works, so that a
// backup of it would be of nothing.
var ErrCustody = errors.New("the node does not work in data-dir")

// custodyWait is how long a node is given to open its databases before a backup
// of it is refused: it may have been started this moment.
const custodyWait = 3 * time.Second

// holdsSoon is Holds, asked until it says yes or custodyWait is over.
func holdsSoon(group int, data string) bool {
	for end := time.Now().Add(custodyWait); !Holds(group, data); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// custody makes sure that what is backed up is what the node has. A node that is
// up holds a lock in it; one that is down has left the file there.
func (b *Backups) custody() error {
	if b.cfg.Node != nil {
		if st := b.cfg.Node.Status(); st.Pid != 0 {
			if !holdsSoon(st.Pid, b.cfg.Data) {
				return fmt.Errorf("%w: it holds no LOCK below %s, and a backup of that would protect nothing; set data-dir or the node's --datadir", ErrCustody, b.cfg.Data)
			}
			return nil
		}
	}
	if !leftLock(b.cfg.Data) {
		return fmt.Errorf("%w: no node has left a LOCK below %s, and a backup of that would protect nothing; set data-dir", ErrCustody, b.cfg.Data)
	}
	return nil
}

// lockDepth is how deep in a data directory nodes keep their locks:
// geth/chaindata/LOCK, and with the ancient store geth/chaindata/ancient/chain/FLOCK.
const lockDepth = 5

// leftLock reports whether a node has worked in the data directory.
func leftLock(data string) bool {
	found := false
	root, err := filepath.EvalSymlinks(data)
	if err != nil {
		return false
	}
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // what cannot be read holds no answer
		case d.IsDir() && (d.Name() == ".wemixvisor" || strings.Count(path[len(root):], "/") > lockDepth):
			return fs.SkipDir
		case !d.IsDir() && d.Name() == "LOCK":
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found
}

// tree is the data directory, and what in it is ours.
func (b *Backups) tree() backup.Tree {
	return backup.Tree{Root: b.cfg.Data, Own: []string{b.cfg.Home.Dir()}}
}

// hashed is a binary whose checksum is known.
type hashed struct {
	file   fileID
	sha256 string
}

// current256 returns the checksum of the node binary in use; empty: there is none.
func (b *Backups) current256(ctx context.Context) (string, error) {
	file, err := b.cfg.Home.Program()
	if err != nil {
		return "", nil //nolint:nilerr // the volume of a new node has none yet
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("look at the node binary: %w", err)
	}
	if known := b.binary.Load(); known != nil && known.file == idOf(info) {
		return known.sha256, nil
	}
	sum, err := hashFile(ctx, file)
	if err != nil {
		return "", fmt.Errorf("checksum of the node binary: %w", err)
	}
	b.binary.Store(&hashed{idOf(info), sum})
	return sum, nil
}

// origin tells the node's binary. What is known of its chain is filled in later,
// when it has stopped: see seen.
func (b *Backups) origin(ctx context.Context) (backup.Origin, error) {
	sum, err := b.current256(ctx)
	return backup.Origin{Binary: sum, Version: b.cfg.Version(), Upgrade: b.cfg.Home.Current()}, err
}

// seen adds the chain as the node told it last.
func (b *Backups) seen(o backup.Origin) backup.Origin {
	f := b.cfg.Facts()
	o.ChainID, o.Genesis = f.ChainID, f.Genesis
	if f.Known {
		o.Height, o.Hash = f.Height, f.Hash
	}
	return o
}

// clean reports whether the node has written all it knew before it ended.
func (b *Backups) clean() bool {
	if b.cfg.Node != nil {
		if last := b.cfg.Node.Status().Last; last != nil {
			return clean(*last)
		}
	}
	// It has not run since we are here: the journal tells how it was left.
	text, err := os.ReadFile(b.cfg.Home.journal())
	if err != nil {
		return false
	}
	s, err := decodeState(text)
	return err == nil && s.Node.Clean
}

// whileDown does apply while the node is down. A node that was up is started
// again; one that was held down stays so. revert is told why apply, or the start,
// failed; it may be nil, and with its own error the node is held down.
func (b *Backups) whileDown(ctx context.Context, j *job, kind, name string, apply func(context.Context) error, revert func(context.Context, error) error) error {
	if b.cfg.Node == nil {
		err := apply(ctx)
		if err != nil && revert != nil {
			err = errors.Join(err, revert(ctx, err))
		}
		return err
	}
	if err := b.cfg.Node.Idle(ctx, kind, name, func(ctx context.Context) error {
		err := apply(ctx)
		if err != nil && revert != nil {
			_ = revert(ctx, err) // the node is held as it is
		}
		return err
	}); !errors.Is(err, supervisor.ErrRunning) {
		return err
	}
	if b.cfg.Gate != nil && b.cfg.Node.Status().Pid != 0 {
		j.stage(stageGate)
		if err := b.cfg.Gate(ctx); err != nil {
			return fmt.Errorf("%s: the node may not be stopped now: %w", kind, err)
		}
	}
	j.stopping = time.Now()
	return b.cfg.Node.Change(ctx, supervisor.Change{Kind: kind, Name: name, Apply: apply, Revert: revert})
}
