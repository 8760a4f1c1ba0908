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

// ErrLocked says that a supervisor, or a command that does its work, has the volume.
var ErrLocked = errors.New("in use")

// lockPoll is how often a held lock is tried again: flock(2) cannot wait for a
// limited time.
const lockPoll = 50 * time.Millisecond

func (h Home) lockFile() string { return filepath.Join(h.Dir(), "wemixvisor.lock") }

// ForRun is what a supervisor takes the volume for.
const ForRun = "run"

// Lock takes the volume for this process, for as long as it lives: two
// supervisors would start the node twice. What it is taken for others are told. It
// waits up to timeout for another one to end, then returns [ErrLocked].
func (h Home) Lock(ctx context.Context, timeout time.Duration, what string) (*os.File, error) {
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
			_, _ = f.WriteAt(fmt.Appendf(nil, "%d %s %s\n", os.Getpid(), hostname(), what), 0) // for people; the lock is the truth
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", h.Root, err)
		}
		if !time.Now().Before(deadline) {
			who := make([]byte, 256)
			n, _ := f.ReadAt(who, 0)
			f.Close()
			return nil, fmt.Errorf("home %s is %w %s", h.Root, ErrLocked, holder(string(who[:n]), timeout > 0))
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// holder says who has a volume, and what to do about it.
func holder(told string, waited bool) string {
	word := append(strings.SplitN(strings.TrimSpace(told), " ", 3), "", "")
	pid, host, what := word[0], word[1], word[2]
	if pid == "" { // it is just being taken
		return "by another process; try again"
	}
	who := "by process " + pid
	if host != "" && host != hostname() {
		who += " on " + host // a volume can be in two containers, and each has a process 1
	}
	switch {
	case what != "" && what != ForRun:
		return who + " (" + what + "); wait until that is done"
	case waited:
		return who + " (a supervisor); stop that one first, or raise lock-timeout"
	}
	return who + " (a supervisor); stop that one first"
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "?"
	}
	return name
}
