package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/wemix/wemixvisor/backup/durable"
	"github.com/wemix/wemixvisor/backup/failpoint"
)

// RepoConfig says where archives lie. Zero fields mean what is written beside
// them.
type RepoConfig struct {
	Dir     string // absolute; made when the first archive is
	Program string // the version of this program, recorded in what it writes
	Floor   Floor  // of the file system of Dir

	// NodeRuns reports whether a node wants the processors too: then one of them
	// is enough for us, and the disk is left alone while others wait for it. It
	// may be called from any goroutine; nil: there is no node.
	NodeRuns func() bool

	Now func() time.Time // nil: time.Now
}

// Repo is a folder of archives.
//
// An archive is a folder in it, named by its id, with three files: the data, the
// manifest that says what is in it, and info.json. One that is being made or
// removed has a name that begins with a dot, so what has an id is whole: both
// ends of its life are a rename.
type Repo struct{ cfg RepoConfig }

// NewRepo returns the repository in cfg.Dir, which need not exist.
func NewRepo(cfg RepoConfig) *Repo {
	if cfg.NodeRuns == nil {
		cfg.NodeRuns = func() bool { return false }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Repo{cfg}
}

// Names of what is not an archive yet, or any more.
const (
	makingPrefix   = ".making-"
	deletingPrefix = ".deleting-"
)

// mostWorkers bounds the memory, and is faster than the disks that archives lie on.
const mostWorkers = 8

// workers returns how many to start; 0 means as many as there are processors.
func workers(wish int) int {
	if wish <= 0 {
		wish = runtime.GOMAXPROCS(0)
	}
	return min(wish, mostWorkers)
}

// List returns the archives, newest first. One that a glance shows to be damaged
// is listed as such.
func (r *Repo) List() ([]Info, error) {
	names, err := os.ReadDir(r.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list archives: %w", err)
	}
	var infos []Info
	for _, name := range names {
		if _, _, _, ok := ParseID(name.Name()); !ok {
			continue
		}
		folder := filepath.Join(r.cfg.Dir, name.Name())
		info, err := readInfo(folder)
		switch {
		case errors.Is(err, ErrNotFound): // somebody's copy that is not complete
			continue
		case err != nil:
			info = Info{Damage: err.Error()}
		case info.ID != name.Name():
			info.Verified, info.Damage = false, "it calls itself "+info.ID
		default:
			info.glance(folder)
		}
		info.ID = name.Name()
		infos = append(infos, info)
	}
	sortNewestFirst(infos, func(i Info) string { return i.ID })
	return infos, nil
}

// find returns the folder of an archive: an id of this repository, or any folder.
func (r *Repo) find(idOrFolder string) (string, error) {
	if _, _, _, ok := ParseID(idOrFolder); ok {
		folder := filepath.Join(r.cfg.Dir, idOrFolder)
		if exists(folder) || !exists(idOrFolder) {
			idOrFolder = folder
		}
	}
	if fi, err := os.Stat(idOrFolder); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s", ErrNotFound, idOrFolder)
	} else if err != nil {
		return "", fmt.Errorf("find archive: %w", err)
	} else if !fi.IsDir() {
		return "", fmt.Errorf("%w: %s is not a folder", ErrNotFound, idOrFolder)
	}
	return filepath.Abs(idOrFolder)
}

// Remove deletes an archive of this repository. It is not listed any more before
// any of its bytes go.
func (r *Repo) Remove(ctx context.Context, id string) error {
	if _, _, _, ok := ParseID(id); !ok || !exists(filepath.Join(r.cfg.Dir, id)) {
		return fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	l, err := r.lock("remove " + id)
	if err != nil {
		return err
	}
	defer l.Close()
	return r.remove(ctx, id)
}

func (r *Repo) remove(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	deleting := filepath.Join(r.cfg.Dir, deletingPrefix+id)
	failpoint.At("archive.remove.begin")
	if err := os.Rename(filepath.Join(r.cfg.Dir, id), deleting); err != nil {
		return fmt.Errorf("remove archive: %w", err)
	}
	failpoint.At("archive.remove.renamed")
	// Durable before the first byte goes, or a crash brings back the name of a ruin.
	if err := durable.SyncDir(r.cfg.Dir); err != nil {
		return err
	}
	failpoint.At("archive.remove.unlisted")
	return removeArchive(deleting)
}

// removeArchive deletes a folder, what makes it an archive first.
func removeArchive(folder string) error {
	for _, name := range []string{infoFile, manifestFile, dataFile} {
		if err := os.Remove(filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove archive: %w", err)
		}
		failpoint.At("archive.remove.file")
	}
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("remove archive: %w", err)
	}
	return nil
}

// Recover deletes what an earlier process left half made or half removed, and
// returns how many there were. It is [ErrBusy] while somebody makes an archive.
func (r *Repo) Recover() (int, error) {
	if !exists(r.cfg.Dir) {
		return 0, nil
	}
	l, err := r.lock("recover")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return r.sweep()
}

func (r *Repo) sweep() (n int, err error) {
	names, err := os.ReadDir(r.cfg.Dir)
	if err != nil {
		return 0, fmt.Errorf("sweep repository: %w", err)
	}
	for _, name := range names {
		if !strings.HasPrefix(name.Name(), makingPrefix) && !strings.HasPrefix(name.Name(), deletingPrefix) {
			continue
		}
		if err := removeArchive(filepath.Join(r.cfg.Dir, name.Name())); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Info returns what is known of an archive without reading it: an id of this
// repository, or any folder that holds one.
func (r *Repo) Info(idOrFolder string) (Info, error) {
	folder, err := r.find(idOrFolder)
	if err != nil {
		return Info{}, err
	}
	info, err := readInfo(folder)
	if err != nil {
		return Info{}, err
	}
	info.glance(folder)
	return info, nil
}
