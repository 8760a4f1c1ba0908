package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait for an answer or an end.
const patience = 20 * time.Second

// box is a running PID namespace. Its PID 1 is the contestant.
type box struct {
	name string
	proc *os.Process
	in   *os.File // what the child reads
	out  *os.File // what it writes
	text *bufio.Reader
	errs *os.File // what anybody in there had to say
	stop func() bool
	done bool
}

// open starts program under c in a fresh namespace. ctx ends it. The caller
// must be on the main thread, see [main].
func open(ctx context.Context, c contestant, program ...string) (*box, error) {
	return launch(ctx, c.name, append(append([]string{}, c.argv...), program...), nil)
}

func launch(ctx context.Context, name string, argv, env []string) (*box, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	out, stdout, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	defer stdout.Close()
	// A file, not a pipe: nobody has to read along, so that wait answers at once.
	fd, err := unix.MemfdCreate("stderr", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	errs := os.NewFile(uintptr(fd), "stderr")

	cmd := exec.Command(self, append([]string{stageRole}, argv...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/"}, env...) // as container runtimes do
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, errs
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS,
		Setpgid:    true,            // Ctrl-C is for us: we end them
		Pdeathsig:  syscall.SIGKILL, // and when we cannot, the kernel does; PID 1 takes its namespace along
	}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s in a namespace: %w", name, err), in.Close(), out.Close(), errs.Close())
	}
	b := &box{name: name, proc: cmd.Process, in: in, out: out, text: bufio.NewReader(out), errs: errs}
	b.stop = context.AfterFunc(ctx, func() { _ = b.proc.Kill() }) // whoever waits for it sees its pipe end
	return b, nil
}

// pid is PID 1, as seen from outside.
func (b *box) pid() int { return b.proc.Pid }

// tell writes a line to the child.
func (b *box) tell(line string) error {
	if _, err := b.in.WriteString(line + "\n"); err != nil {
		return b.fail("tell the child", err)
	}
	return nil
}

// hear reads a line from the child.
func (b *box) hear(within time.Duration) (string, error) {
	if err := b.out.SetReadDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	line, err := b.text.ReadString('\n')
	if err != nil {
		return "", b.fail("hear from the child", err)
	}
	return strings.TrimSuffix(line, "\n"), nil
}

// wait returns when PID 1 is gone, and with it everybody in the namespace.
func (b *box) wait() error {
	if b.done {
		return nil
	}
	hung := time.AfterFunc(patience, func() { _ = b.proc.Kill() })
	_, err := b.proc.Wait()
	b.done = true
	if !hung.Stop() {
		return b.fail("wait", errors.New("it did not end by itself"))
	}
	return err
}

// close ends the namespace, whatever it is doing.
func (b *box) close() {
	b.stop()
	if !b.done {
		_ = b.proc.Kill() // nothing in there is worth a goodbye
		_, _ = b.proc.Wait()
		b.done = true
	}
	_ = b.in.Close()
	_ = b.out.Close()
	_ = b.errs.Close()
}

// fail adds who it was and its last words to err.
func (b *box) fail(what string, err error) error {
	said, _ := io.ReadAll(io.NewSectionReader(b.errs, 0, 4096))
	if words := strings.TrimSpace(string(said)); words != "" {
		return fmt.Errorf("%s: %s: %w: it said %q", b.name, what, err, words)
	}
	return fmt.Errorf("%s: %s: %w", b.name, what, err)
}
