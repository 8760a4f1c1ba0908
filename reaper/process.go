package reaper

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrExited is returned when a process is signalled after it ended.
var ErrExited = errors.New("process has exited")

// Process is one that we started, and the leader of its process group.
type Process struct {
	Pid     int
	Started time.Time

	r    *Reaper
	done chan struct{}
	exit Exit
}

// Done closes when the process has ended and was collected.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit returns how the process ended; it is zero before Done closes.
func (p *Process) Exit() Exit {
	select {
	case <-p.done:
		return p.exit
	default:
		return Exit{}
	}
}

// Signal sends sig to the process group. It returns [ErrExited] when the
// process has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if p.r.procs[p.Pid] != p { // not by its pid alone: another one may have that by now
		return ErrExited
	}
	return syscall.Kill(-p.Pid, sig)
}

func (p *Process) end(e Exit) {
	p.exit = e
	close(p.done)
}

// Exit is how a process ended.
type Exit struct {
	Code   int            // its exit status, when Signal is 0
	Signal syscall.Signal // what it died of
}

func exitOf(ws syscall.WaitStatus) Exit {
	if ws.Signaled() {
		return Exit{Signal: ws.Signal()}
	}
	return Exit{Code: ws.ExitStatus()}
}

// Status is the exit status a shell would report: the code, or 128+n for a
// death by signal n.
func (e Exit) Status() int {
	if e.Signal != 0 {
		return 128 + int(e.Signal)
	}
	return e.Code
}

func (e Exit) String() string {
	if e.Signal == 0 {
		return fmt.Sprintf("exit status %d", e.Code)
	}
	if name := unix.SignalName(e.Signal); name != "" {
		return "killed by " + name
	}
	return fmt.Sprintf("killed by signal %d", int(e.Signal))
}
