package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a child of ours can do.
const (
	stampTask = "stamp"
	hopTask   = "hop"
	waitTask  = "hop-wait"
)

// child does what args say. born is the first thing it did.
func child(args []string, born int64) error {
	if len(args) == 0 {
		return fmt.Errorf("no task")
	}
	switch task := args[0]; task {
	case stampTask:
		return stamp(args[1:], born)
	case hopTask:
		return hopBlocked()
	case waitTask:
		return hopWait()
	default:
		return fmt.Errorf("no task %q", task)
	}
}

// stamp says when it was born, waits for a line, and says when it ended.
func stamp(args []string, born int64) error {
	if len(args) != 1 {
		return fmt.Errorf("no start time")
	}
	if _, err := fmt.Printf("%s %d\n", args[0], born); err != nil {
		return err
	}
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // its end is a reason to end, too
	_, err := fmt.Println(clock())
	return err
}

// hopBlocked executes this program again with the measured signal blocked.
//
// Go's own way of receiving a signal costs two thread switches, more than the
// hop under test. A signal blocked before the runtime starts stays blocked in
// all its threads, so that the next image may take it from the kernel itself.
func hopBlocked() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the mask is the thread's
	set := hopSet()
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil); err != nil {
		return err
	}
	return unix.Exec(self, []string{self, childRole, waitTask}, os.Environ())
}

// hopWait says when each signal arrived.
func hopWait() error {
	runtime.LockOSThread()
	set := hopSet()
	if _, err := os.Stdout.WriteString("ready\n"); err != nil {
		return err
	}
	line := make([]byte, 0, 32)
	for {
		_, _, errno := unix.Syscall6(unix.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(&set)), 0, 0, unsafe.Sizeof(set.Val[0]), 0, 0)
		at := clock()
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return fmt.Errorf("wait for a signal: %w", errno)
		}
		line = append(strconv.AppendInt(line[:0], at, 10), '\n')
		if _, err := os.Stdout.Write(line); err != nil {
			return err
		}
	}
}

// hopSignal is one that every init forwards and none acts upon.
const hopSignal = unix.SIGUSR1

func hopSet() unix.Sigset_t {
	var set unix.Sigset_t
	set.Val[0] = 1 << (hopSignal - 1)
	return set
}
