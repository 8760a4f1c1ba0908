package backup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// lockFile is held, with flock(2), by whoever writes to the repository.
const lockFile = ".lock"

// lock takes the repository for what is about to be done to it, or returns
// [ErrBusy] and who has it. Readers need no lock: they open an archive's files
// before they read, and those stay theirs even when the archive is removed.
func (r *Repo) lock(what string) (*repoLock, error) {
	f, err := os.OpenFile(filepath.Join(r.cfg.Dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock repository: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		who := make([]byte, 128)
		n, _ := f.ReadAt(who, 0)
		f.Close()
		holder := "another process"
		if pid, doing, ok := strings.Cut(strings.TrimSpace(string(who[:n])), " "); ok {
			holder = fmt.Sprintf("process %s has it (%s)", pid, doing)
		}
		return nil, fmt.Errorf("repository %s is %w: %s", r.cfg.Dir, ErrBusy, holder)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock repository: %w", err)
	}
	_ = f.Truncate(0) // for people; the lock is the truth
	_, _ = f.WriteAt(fmt.Appendf(nil, "%d %s\n", os.Getpid(), what), 0)
	return &repoLock{f}, nil
}

// repoLock is a repository that is taken, until Close.
type repoLock struct{ file *os.File }

// Close gives it back. Closing the file would not do: a child that is just being
// started has it too, up to its execve(2), and the lock with it.
func (l *repoLock) Close() { unlock(l.file) }
