package backup

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/wemix/wemixvisor/backup/failpoint"
)

// ExtractOptions say what becomes of an archive. Zero fields mean what is written
// beside them.
type ExtractOptions struct {
	Secrets    bool // restore the node's identity too, if it is in the archive
	Workers    int  // 0: one while the node runs, else one for each processor
	OnProgress func(Progress)
}

// Extract restores an archive, an id of this repository or any folder that holds
// one, into the folder to, which must be empty or not exist. Every byte is
// verified on its way and durable when it returns; on an error what was written
// is removed again. Owners are restored if the process is root.
//
// If the process dies, a folder that did not exist does not exist: what was written
// lies beside it, as .wemixvisor-unfinished-NAME, until the next try deletes that.
// One that did holds a file .wemixvisor-unfinished until all is there but its own time.
//
// It returns [ErrBusy] if another is at it, [ErrNotFound], [ErrCorrupt] with the
// entry, [ErrFormat], [ErrNoSpace], and what ctx says when that ends.
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
	d, err := openDestination(to)
	if err != nil {
		return info, spaceError(err)
	}
	defer d.self.Close()
	defer func() {
		if err != nil {
			err = errors.Join(spaceErrorAt(d.work, err), d.clear())
		}
	}()
	if err := r.cfg.Floor.Check(d.work, a.list.DiskBytes); err != nil {
		return info, err
	}
	root, err := os.OpenRoot(d.work)
	if err != nil {
		return info, err
	}
	defer root.Close()
	u := &unpacker{root: root, secrets: o.Secrets, owner: os.Geteuid() == 0}
	defer u.Close()
	if err := a.check(ctx, sealOf(info), r.readers(o.Workers), u, counter(a.list.DataBytes, o.OnProgress)); err != nil {
		return info, err
	}
	if err := u.leave("."); err != nil {
		return info, err
	}
	if len(u.folders) == 0 {
		return info, fmt.Errorf("%w: there is nothing in it", ErrCorrupt)
	}
	if err := d.finish(u); err != nil {
		return info, err
	}
	failpoint.At("archive.extract.done")
	return info, nil
}
