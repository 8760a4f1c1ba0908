package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/backup/durable"
)

// manyFiles is from how many copies on one syncfs(2) is cheaper than an fsync(2) of
// each, whatever it has to wait for.
const manyFiles = 256

// foreignBytes is how much of what others wrote syncfs(2) may have to wait for, to
// be taken for a few files: a disk writes that in the time that their fsyncs, each
// with a flush of its own, take together.
const foreignBytes = 16 << 20

// sync makes durable what a pass copied, the names it made, and more.
func (p *pass) sync(more ...string) error {
	if n := len(p.jobs) + len(p.folders); n > manyFiles || n > copiers && quiet(p.toCopy+p.staged) {
		return syncFS(p.dir())
	}
	queue := make(chan string)
	errs := make(chan error, len(p.jobs)+len(p.folders)+len(more))
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
	for _, name := range more {
		queue <- name
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

// quiet reports whether this machine has little to write beside bytes of ours, and
// whether its syncfs(2) tells of what could not be written, as it does from Linux
// 5.8 on. What cannot be told is no.
func quiet(ours int64) bool {
	var u unix.Utsname
	var major, minor int
	if unix.Uname(&u) != nil {
		return false
	}
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); n < 2 || major < 5 || major == 5 && minor < 8 {
		return false
	}
	dirty, ok := unwritten()
	return ok && dirty <= ours+foreignBytes
}

// unwritten returns how many bytes of files this machine has still to write, to
// whichever disk, /proc/meminfo.
func unwritten() (bytes int64, ok bool) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		if name != "Dirty" && name != "Writeback" {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0, false
		}
		bytes += kb << 10
		found++
	}
	return bytes, found == 2
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
