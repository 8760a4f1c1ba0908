package reaper

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ownsTerminal reports whether fd is a terminal whose foreground group is ours:
// only then may we hand it over (termios is not ours when we run in the
// background of somebody's shell).
func ownsTerminal(fd int) bool {
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// giveTerminal makes group the foreground group of the terminal fd.
//
// The child could do it before exec only with SIGTTOU blocked or ignored, and
// would keep that state. So we do it, right after the exec: a SIGCONT drops
// every stop signal that a quick read from the terminal has earned the child
// meanwhile, or wakes it, and it reads on.
func giveTerminal(fd, group int) {
	Quietly(func() {
		_ = unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, group)
	})
	_ = unix.Kill(-group, unix.SIGCONT)
}

// TakeTerminal makes our group the foreground one of the terminal f again, if
// it is a terminal. Who started us from a shell expects that at the end.
func TakeTerminal(f *os.File) {
	Quietly(func() {
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.TIOCSPGRP, unix.Getpgrp())
	})
}

// Quietly runs f on a thread that SIGTTOU and SIGPIPE do not reach. As a
// background process (the node has the terminal) a write would otherwise stop
// us, and a write to a closed pipe would be mistaken for a signal to forward.
func Quietly(f func()) {
	done := make(chan struct{})
	go func() { // waited for below
		defer close(done)
		// Never unlocked, so the thread ends with us, and with it the SIGPIPE
		// that is pending: to unblock it would be to get it.
		runtime.LockOSThread()
		var set unix.Sigset_t
		set.Val[0] = 1<<(uint(unix.SIGTTOU)-1) | 1<<(uint(unix.SIGPIPE)-1)
		buf := &maskBuf{set: set}
		_ = unix.PthreadSigmask(unix.SIG_BLOCK, &buf.set, &buf.old)
		f()
	}()
	<-done
}
