package upgrade

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/backup/durable"
	"github.com/wemix/wemixvisor/backup/failpoint"
)

// fileID tells whether a file is still the one that was looked at, without
// reading it: bytes don't change and leave all of it as it was, save within
// the grain of the clock.
type fileID struct {
	Dev   uint64 `json:"dev"`
	Inode uint64 `json:"inode"`
	Size  int64  `json:"size"`
	Mtime int64  `json:"mtime"` // ns
	Ctime int64  `json:"ctime"` // ns
}

func idOf(info fs.FileInfo) fileID {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{Size: info.Size(), Mtime: info.ModTime().UnixNano()}
	}
	return fileID{st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}
}

// grain is the coarsest clock of a file system that we expect: FAT and NFS.
const grain = 2 * time.Second

// settled reports whether the file was written long enough before now for a
// later write to show.
func (id fileID) settled(now time.Time) bool {
	return now.Sub(time.Unix(0, max(id.Mtime, id.Ctime))) > grain
}

// errTooLarge says that a file is no plan by its mere size.
var errTooLarge = errors.New("too large for a plan")

// readSmall reads a regular file of at most limit bytes. A pipe in its place
// must not hold us up.
func readSmall(file string, limit int64) ([]byte, fileID, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fileID{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fileID{}, err
	}
	id := idOf(info)
	if !info.Mode().IsRegular() {
		return nil, id, errors.New("not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, id, err
	}
	if int64(len(data)) > limit {
		return nil, id, fmt.Errorf("%d bytes: %w; the limit is %d", info.Size(), errTooLarge, limit)
	}
	return data, id, nil
}

// writeFile puts data in the place of file: who reads it, or loses power, finds
// the old one or the new one. point names the moments between the steps.
func writeFile(file string, data []byte, point string) (err error) {
	tmp := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+"-"+rand.Text())
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	failpoint.At(point + ".written")
	if err := os.Rename(tmp, file); err != nil {
		return err
	}
	failpoint.At(point + ".renamed")
	return durable.SyncDir(filepath.Dir(file))
}
