package reaper

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// unignore restores the default effect of the signals that os/signal cannot
// subscribe to, see [signals.C]: ignored by our parent, they would stay ignored
// in every child. All others have a handler of Go's, which execve(2) resets.
func unignore() error {
	for _, sig := range []syscall.Signal{32, 33, 34} {
		now, err := disposition(sig, nil)
		if err == nil && now.handler == ignored {
			_, err = disposition(sig, &action{})
		}
		if err != nil {
			return fmt.Errorf("reset signal %d: %w", sig, err)
		}
	}
	return nil
}

// action is the kernel's struct sigaction. The order of what follows the
// handler depends on the machine; all zero is the default disposition on each.
type action struct {
	handler uintptr
	_       [3]uintptr
}

const ignored = 1 // SIG_IGN

// disposition replaces what sig does, past the Go runtime, by to, unless that is
// nil, and returns what it did.
func disposition(sig syscall.Signal, to *action) (action, error) {
	var was action
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(&was)), 8, 0, 0)
	if errno != 0 {
		return was, errno
	}
	return was, nil
}
