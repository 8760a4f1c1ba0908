package backup

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Floor is the room on a file system that is the node's and never ours: the
// larger of the two. A node that finds its disk full ends, some with data lost.
// The zero value is 5 %, at least 1 GiB.
type Floor struct {
	Percent float64 // of the size of the file system
	Bytes   int64
}

func (f Floor) of(size int64) int64 {
	if f == (Floor{}) {
		f = Floor{Percent: 5, Bytes: 1 << 30}
	}
	return max(int64(float64(size)*f.Percent/100), f.Bytes, 0)
}

// Check returns [ErrNoSpace], with the figures, if the file system of dir has no
// room for need more bytes above the floor.
func (f Floor) Check(dir string, need int64) error {
	free, size, err := room(dir)
	if err != nil {
		return err
	}
	if size == 0 { // some file systems do not tell, network ones in user space and ramfs
		return nil
	}
	if floor := f.of(size); free-floor < need {
		return fmt.Errorf("%w on %s: %s are needed and %s stay free for the node, but only %s are; free some, or lower backup-min-free",
			ErrNoSpace, dir, humanBytes(need), humanBytes(floor), humanBytes(free))
	}
	return nil
}

// room returns what an unprivileged process may still write on the file system
// of dir, and its size, in bytes.
func room(dir string) (free, size int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("measure file system of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, nil
}

// reservedBytes is what a rollback needs for its journal and for the folders of the data
// that goes, many times over.
const reservedBytes = 1 << 20

// reserve makes a file that is nothing but room, as far as there is any: what
// has to go back may be what has filled the disk.
func reserve(file string) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	_ = unix.Fallocate(int(f.Fd()), 0, 0, reservedBytes)
}

func humanBytes(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
