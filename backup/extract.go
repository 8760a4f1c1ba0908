package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wemix/wemixvisor/backup/failpoint"
)

// ExtractOptions say what becomes of an archive. Zero fields mean what is written
// beside them.
type ExtractOptions struct {
	Secrets    bool // restore the node's identity too, if it is in the archive
	Workers    int  // 0: one while the node runs, else one for each processor
	OnProgress func(Progress)
}

// unfinishedFile lies in a folder as long as not all of an archive is there.
const unfinishedFile = ".wemixvisor-unfinished"

// Extract restores an archive, an id of this repository or any folder that holds
// one, into the folder to, which must be empty or not exist. Every byte is
// verified on its way and durable when it returns; on an error what was written
// is removed again. Owners are restored if the process is root.
//
// It returns [ErrNotFound], [ErrCorrupt] with the entry, [ErrFormat],
// [ErrNoSpace], and what ctx says when that ends.
func (r *Repo) Extract(ctx context.Context, idOrFolder, to string, o ExtractOptions) (info Info, err error) {
	folder, err := r.find(idOrFolder)
	if err != nil {
		return Info{}, err
	}
	if info, err = readInfo(folder); err != nil {
		return Info{}, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("extract %s: %w", info.ID, err)
		}
	}()
	a, err := openArchive(folder, info)
	if err != nil {
		return info, err
	}
	defer a.Close()
	made, err := emptyFolder(to)
	if err != nil {
		return info, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(spaceErrorAt(to, err), clearFolder(to, made))
		}
	}()
	if err := r.cfg.Floor.Check(to, a.list.DiskBytes); err != nil {
		return info, err
	}
	failpoint.At("archive.extract.folder")
	root, err := os.OpenRoot(to)
	if err != nil {
		return info, err
	}
	defer root.Close()
	if err := root.WriteFile(unfinishedFile, []byte("An archive is being extracted here, or was, and is not complete.\n"), 0o600); err != nil {
		return info, err
	}
	failpoint.At("archive.extract.marked")
	u := &unpacker{root: root, secrets: o.Secrets, owner: os.Geteuid() == 0}
	defer u.Close()
	if err := a.check(ctx, sealOf(info), r.readers(o.Workers), u, counter(a.list.DataBytes, o.OnProgress)); err != nil {
		return info, err
	}
	if err := u.leave("."); err != nil {
		return info, err
	}
	failpoint.At("archive.extract.written")
	// One call for all: an fsync for each of 100,000 files takes minutes.
	if err := syncFS(to); err != nil {
		return info, err
	}
	failpoint.At("archive.extract.synced")
	if err := root.Remove(unfinishedFile); err != nil {
		return info, err
	}
	failpoint.At("archive.extract.unmarked")
	if err := u.leave(""); err != nil { // the root's own time, now that nothing comes or goes
		return info, err
	}
	if err := syncDir(to); err != nil {
		return info, err
	}
	failpoint.At("archive.extract.done")
	return info, syncDir(filepath.Dir(filepath.Clean(to)))
}

// emptyFolder makes the folder, or sees that nothing is in it.
func emptyFolder(to string) (made bool, err error) {
	names, err := os.ReadDir(to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, os.MkdirAll(to, 0o700)
	case err != nil:
		return false, err
	}
	for _, name := range names {
		if name.Name() == unfinishedFile {
			return false, fmt.Errorf("%s holds an extraction that was broken off: delete it first", to)
		}
		if name.Name() != "lost+found" { // a fresh volume has it
			return false, fmt.Errorf("%s is not empty: extract into a fresh folder", to)
		}
	}
	return false, nil
}

// clearFolder undoes an extraction.
func clearFolder(to string, made bool) error {
	if made {
		return os.RemoveAll(to)
	}
	names, err := os.ReadDir(to)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name.Name() == "lost+found" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(to, name.Name())); err != nil {
			return err
		}
	}
	return nil
}
