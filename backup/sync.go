package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/backup/durable"
)

// manyFiles is from how many copies on one syncfs(2) is cheaper than an fsync(2) of
// each. It also waits for what all others write to the file system, which may be
// much and is nothing to us, so up to there it is not used.
const manyFiles = 256

// sync makes durable what a pass copied, and the names it made.
func (p *pass) sync() error {
	if len(p.jobs)+len(p.folders) > manyFiles {
		return syncFS(p.dir())
	}
	queue := make(chan string)
	errs := make(chan error, len(p.jobs)+len(p.folders))
	var all sync.WaitGroup
	for range copiers {
		all.Go(func() {
			for name := range queue {
				err := durable.SyncDir(name)
				if errors.Is(err, fs.ErrNotExist) && !p.window { // it went before it was copied
					err = nil
				}
				errs <- err
			}
		})
	}
	for _, j := range p.jobs {
		queue <- p.mirror(j.e.Path)
	}
	for _, rel := range p.folders {
		queue <- p.mirror(rel)
	}
	close(queue)
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return spaceError(err)
		}
	}
	return nil
}

// syncFS makes durable all that was written to the file system of dir.
func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", dir, spaceError(err))
	}
	return nil
}
