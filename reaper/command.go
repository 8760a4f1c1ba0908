package reaper

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command says what to start and with what.
type Command struct {
	Path string   // the file, as [Find] gave it
	Args []string // with Args[0], the name it is called by
	Env  []string // nil: an empty environment
	Dir  string   // empty: ours

	Stdin, Stdout, Stderr *os.File // nil: /dev/null

	// Terminal hands the terminal on Stdin over to the new group, when its
	// foreground group is ours to give.
	Terminal bool

	// Bound ends the process by SIGKILL when we die. As PID 1 the kernel does
	// that for the whole namespace anyway.
	Bound bool
}

// fork starts the command on the calling thread, which must be locked.
func (c Command) fork() (int, error) {
	if c.Dir != "" { // execve(2) and chdir(2) fail alike; only one is the program's fault
		if info, err := os.Stat(c.Dir); err != nil {
			return 0, fmt.Errorf("start %s: working directory: %w", c.Path, err)
		} else if !info.IsDir() {
			return 0, fmt.Errorf("start %s: working directory %s: %w", c.Path, c.Dir, syscall.ENOTDIR)
		}
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", c.Path, err)
	}
	defer null.Close()

	attr := &syscall.ProcAttr{
		Dir: c.Dir,
		Env: c.Env,
		Sys: &syscall.SysProcAttr{Setpgid: true},
	}
	if attr.Env == nil {
		attr.Env = []string{} // nil would mean ours
	}
	for _, f := range []*os.File{c.Stdin, c.Stdout, c.Stderr} {
		if f == nil {
			f = null
		}
		attr.Files = append(attr.Files, f.Fd())
	}
	if c.Bound && os.Getpid() != 1 {
		attr.Sys.Pdeathsig = syscall.SIGKILL
	}
	terminal := c.Terminal && c.Stdin != nil && ownsTerminal(int(c.Stdin.Fd()))

	// The child inherits the mask of the thread that forks, and ours is what
	// our parent left. Dispositions are in order, see unignore.
	if err := closeOnExec(); err != nil {
		return 0, fmt.Errorf("start %s: %w", c.Path, err)
	}
	restore, err := setMask(unix.Sigset_t{})
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", c.Path, err)
	}
	pid, err := forkExec(c.Path, c.Args, attr)
	restore()
	if err != nil {
		return 0, explain(c.Path, err)
	}
	if terminal {
		giveTerminal(int(c.Stdin.Fd()), pid)
	}
	return pid, nil
}

// forkExec retries while somebody still holds the file open for writing: a
// fork in another thread may carry such a descriptor for a moment
// (golang/go issue 22315).
func forkExec(path string, args []string, attr *syscall.ProcAttr) (int, error) {
	for wait := time.Millisecond; ; wait *= 2 {
		pid, err := syscall.ForkExec(path, args, attr)
		if !errors.Is(err, syscall.ETXTBSY) || wait > time.Second {
			return pid, err
		}
		time.Sleep(wait)
	}
}

// closeOnExec marks everything above the standard streams, so that a child
// gets exactly those: what our parent left open is not for it.
func closeOnExec() error {
	err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if err == nil || !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EPERM) {
		return err
	}
	// Before Linux 5.11, or behind a seccomp filter that does not know the call.
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if fd := decimal(name); fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// maskBuf holds the calling thread's mask: the stack of a goroutine may move
// while the kernel writes to it, the heap does not.
type maskBuf struct{ set, old unix.Sigset_t }

// setMask replaces the signal mask of the calling, locked thread and returns
// how to restore it.
func setMask(set unix.Sigset_t) (restore func(), err error) {
	buf := &maskBuf{set: set}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &buf.set, &buf.old); err != nil {
		return nil, fmt.Errorf("set signal mask: %w", err)
	}
	return func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &buf.old, nil) }, nil
}
