package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another supervisor has the volume.
var ErrLocked = errors.New("another supervisor has it")

// lockPoll is how often a held lock is tried again: flock(2) cannot wait for a
// limited time.
const lockPoll = 50 * time.Millisecond

func (h Home) lockFile() string { return filepath.Join(h.Dir(), "wemixvisor.lock") }

// Lock takes the volume for this process, for as long as it lives: two
// supervisors would start the node twice. It waits up to timeout for another
// one to end, then returns [ErrLocked].
func (h Home) Lock(ctx context.Context, timeout time.Duration) (*os.File, error) {
	if err := os.MkdirAll(h.Dir(), 0o755); err != nil {
		return nil, fmt.Errorf("lock %s: %w", h.Root, err)
	}
	f, err := os.OpenFile(h.lockFile(), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", h.Root, err)
	}
	deadline := time.Now().Add(timeout)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			_ = f.Truncate(0)
			_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0) // for people; the lock is the truth
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", h.Root, err)
		}
		if !time.Now().Before(deadline) {
			who := make([]byte, 32)
			n, _ := f.ReadAt(who, 0)
			f.Close()
			return nil, fmt.Errorf("home %s: %w (process %s); stop that one first, or raise lock-timeout", h.Root, ErrLocked, strings.TrimSpace(string(who[:n])))
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}
