package reaper

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal and what was written to it.
type terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File

	mu   sync.Mutex
	text bytes.Buffer
	over chan struct{}
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	master := os.NewFile(uintptr(fd), "master")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	tty := &terminal{t: t, master: master, slave: slave, over: make(chan struct{})}
	go func() {
		defer close(tty.over)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			tty.mu.Lock()
			tty.text.Write(buf[:n])
			tty.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		slave.Close()
		master.Close()
		<-tty.over
	})
	return tty
}

func (tty *terminal) String() string {
	tty.mu.Lock()
	defer tty.mu.Unlock()
	return tty.text.String()
}

func (tty *terminal) shows(text string) {
	tty.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(tty.String(), text); {
		if time.Now().After(deadline) {
			tty.t.Fatalf("want %q on the terminal, have %q", text, tty.String())
		}
		time.Sleep(time.Millisecond)
	}
}

func (tty *terminal) types(text string) {
	tty.t.Helper()
	if _, err := tty.master.WriteString(text); err != nil {
		tty.t.Fatal(err)
	}
}

// inits are the two ways in which an init may find itself, for tests that look
// from outside.
func inits(t *testing.T, test func(t *testing.T, attr syscall.SysProcAttr)) {
	t.Run("subreaper", func(t *testing.T) { test(t, syscall.SysProcAttr{}) })
	t.Run("PID 1", func(t *testing.T) {
		if os.Getpid() == 1 {
			t.Skip("seen from outside already")
		}
		probe := exec.Command(os.Args[0], "true")
		probe.Env = append(os.Environ(), role+"=exec")
		probe.SysProcAttr = freshPids()
		if err := probe.Run(); err != nil {
			t.Skipf("NO PID NAMESPACE HERE: %v", err)
		}
		test(t, *freshPids())
	})
}

// on starts the small init on the terminal, in the foreground of a session of
// its own, as a container runtime does.
func (tty *terminal) on(attr syscall.SysProcAttr, env []string, args ...string) *exec.Cmd {
	tty.t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), env...), role+"=exec")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty.slave, tty.slave, tty.slave
	attr.Setsid, attr.Setctty = true, true
	cmd.SysProcAttr = &attr
	if err := cmd.Start(); err != nil {
		tty.t.Fatal(err)
	}
	tty.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

func TestTerminalIsTheChilds(t *testing.T) {
	inits(t, func(t *testing.T, attr syscall.SysProcAttr) {
		tty := openTerminal(t)
		cmd := tty.on(attr, nil, "sh", "-c", `printf 'name? '; read name; echo "hello $name"; exit 3`)
		tty.shows("name? ")
		tty.types("world\n") // who reads in the background is stopped
		tty.shows("hello world")
		_ = cmd.Wait()
		if have := cmd.ProcessState.ExitCode(); have != 3 {
			t.Errorf("want 3, have %v", cmd.ProcessState)
		}
	})
}

// A program that reads at once does so before it has the terminal, and then
// again; however the two race, it gets its line.
func TestTerminalComesInTime(t *testing.T) {
	for i := range 100 {
		tty := openTerminal(t)
		tty.types("early\n")
		cmd := tty.on(syscall.SysProcAttr{}, nil, "head", "-n", "1")
		over := make(chan struct{})
		go func() { _ = cmd.Wait(); close(over) }()
		select {
		case <-over:
		case <-time.After(20 * time.Second):
			t.Fatalf("%d: it hangs; the terminal shows %q", i, tty)
		}
	}
}

func TestCtrlCReachesTheChildOnce(t *testing.T) {
	inits(t, func(t *testing.T, attr syscall.SysProcAttr) {
		tty := openTerminal(t)
		cmd := tty.on(attr, []string{name + "=count ", until + "=3"}, "/bin/sh", "-c", role+`=count exec "$0"`, os.Args[0])
		tty.shows("count ready")
		tty.types("\x03")
		tty.shows("count 2\r\n")
		if err := unix.IoctlSetWinsize(int(tty.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 10, Col: 20}); err != nil {
			t.Fatal(err)
		}
		tty.shows("count 28\r\n")
		if have := strings.Count(tty.String(), "count 2\r\n"); have != 1 {
			t.Errorf("want one SIGINT, have %d: %q", have, tty)
		}
		tty.types("\x1c") // Ctrl-\ ends it
		_ = cmd.Wait()
	})
}

// With tostop set, the terminal stops whoever writes to it from the
// background, and that is where an init is.
func TestBackgroundWritesDoNotStopUs(t *testing.T) {
	inits(t, func(t *testing.T, attr syscall.SysProcAttr) {
		tty := openTerminal(t)
		mode, err := unix.IoctlGetTermios(int(tty.slave.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		mode.Lflag |= unix.TOSTOP
		if err := unix.IoctlSetTermios(int(tty.slave.Fd()), unix.TCSETS, mode); err != nil {
			t.Fatal(err)
		}
		cmd := tty.on(attr, []string{chatter + "=1"}, "sh", "-c", `read line; exit 4`)
		tty.shows("chatter")
		tty.types("\n")
		_ = cmd.Wait()
		if have := cmd.ProcessState.ExitCode(); have != 4 {
			t.Errorf("want 4, have %v", cmd.ProcessState)
		}
	})
}

// Without a terminal nothing is handed over, and stdin passes.
func TestInitWithoutATerminal(t *testing.T) {
	inits(t, func(t *testing.T, attr syscall.SysProcAttr) {
		for _, tc := range []struct {
			script string
			stdout string
			status int
		}{
			{"cat; exit 7", "input", 7},
			{"kill -TERM $$", "", 143},
			{"kill -TERM $PPID; sleep 1000", "", 143}, // forwarded
		} {
			cmd := exec.Command(os.Args[0], "sh", "-c", tc.script)
			cmd.Env = append(os.Environ(), role+"=exec")
			cmd.Stdin = strings.NewReader("input")
			cmd.SysProcAttr = &attr
			out, _ := cmd.Output()
			if have := cmd.ProcessState.ExitCode(); have != tc.status || string(out) != tc.stdout {
				t.Errorf("%s: want %q, %d, have %q, %d", tc.script, tc.stdout, tc.status, out, have)
			}
		}
		for program, want := range map[string]int{"/absent": 127, "absent": 127, "/": 126, "/dev/null": 126} {
			cmd := exec.Command(os.Args[0], program)
			cmd.Env = append(os.Environ(), role+"=exec", "PATH=/bin:/usr/bin")
			cmd.SysProcAttr = &attr
			if _ = cmd.Run(); cmd.ProcessState.ExitCode() != want {
				t.Errorf("%s: want %d, have %v", program, want, cmd.ProcessState)
			}
		}
	})
}
