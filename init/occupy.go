package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/reaper"
)

// Idle does f while the node is held down, and leaves it so. Nobody can start it
// meanwhile. It returns [ErrRunning] if the node is up, or about to be.
func (s *Supervisor) Idle(ctx context.Context, kind, name string, f func(context.Context) error) error {
	return s.ask(ctx, func(ctx context.Context) error {
		if s.node != nil || !s.Status().Held {
			return ErrRunning
		}
		return s.occupy(kind, name, "applying", func() error { return f(ctx) })
	})
}

// ErrNotRunning says that there is no node to be frozen.
var ErrNotRunning = errors.New("node is not running")

// stillLimit is how long a process may take to stand still: one that waits for
// the disk comes first to the end of that.
const stillLimit = 5 * time.Second

// stillRetry is after how long it goes on for an instant, to be stopped anew: who
// waits in vfork(2) for a child that was stopped before its execve(2) never stops.
const stillRetry = 50 * time.Millisecond

// Frozen does f while the node's processes stand still, with all that they know
// and have not written: as if it had been killed, except that it goes on afterwards.
// The node misses what happens in the meantime.
func (s *Supervisor) Frozen(ctx context.Context, kind, name string, f func(context.Context) error) error {
	return s.ask(ctx, func(ctx context.Context) error {
		if s.node == nil {
			return ErrNotRunning
		}
		p := s.node.proc
		return s.occupy(kind, name, "frozen", func() error {
			defer func() { _ = p.Signal(unix.SIGCONT) }() // whatever becomes of f; an error: it has ended
			if err := freeze(p); err != nil {
				return fmt.Errorf("freeze node: %w", err)
			}
			return f(ctx)
		})
	})
}

// freeze returns when the process group stands still.
func freeze(p *reaper.Process) error {
	deadline := time.Now().Add(stillLimit)
	for {
		if err := p.Signal(unix.SIGSTOP); err != nil {
			return err
		}
		for again := time.Now().Add(stillRetry); time.Now().Before(again); time.Sleep(time.Millisecond) {
			if still(p.Pid) {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not stand still within %s", stillLimit)
		}
		if err := p.Signal(unix.SIGCONT); err != nil {
			return err
		}
	}
}

// occupy shows f as the change in progress.
func (s *Supervisor) occupy(kind, name, stage string, f func() error) error {
	s.publish(func(st *Status) {
		st.Change = &Progress{Kind: kind, Name: name, Stage: stage, Since: time.Now()}
	})
	defer s.publish(func(st *Status) { st.Change = nil })
	return s.wait(f)
}

// still reports whether every thread of the process group stands still: the
// signal is sent to all, and each takes it when it next would run.
func still(group int) bool {
	processes, _ := os.ReadDir("/proc")
	for _, e := range processes {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if g, err := syscall.Getpgid(pid); err != nil || g != group {
			continue
		}
		threads, _ := filepath.Glob("/proc/" + e.Name() + "/task/*/stat")
		for _, file := range threads {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // ended
			}
			_, rest, _ := bytes.Cut(text[bytes.LastIndexByte(text, ')'):], []byte(" "))
			if len(rest) > 0 && !bytes.ContainsRune([]byte("TtZX"), rune(rest[0])) {
				return false
			}
		}
	}
	return true
}
