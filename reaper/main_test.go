package reaper

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/reaper/signals"
)

// role says what the test binary is: the tests, PID 1 of a namespace that runs
// the tests, or one of the programs that the tests start.
const role = "REAPER_TEST_ROLE"

// TestMain runs every test twice: in a fresh PID namespace as its PID 1, with
// a parent that left us in the worst state it could, and then as a plain
// process, a child subreaper. No Reaper lives between two tests, so that
// os/exec may be used there.
func TestMain(m *testing.M) {
	as := os.Getenv(role)
	os.Unsetenv(role)
	if program, ok := programs[as]; ok {
		program()
		return
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector sleeps a second in every exit(0)
	flag.Parse()
	code := 0
	switch {
	case as == "pid1":
		if err := mountProc(); err != nil {
			fmt.Println("mount /proc:", err)
			os.Exit(77)
		}
	case !set("test.fuzz") && !set("test.list"):
		code = runAsPid1()
	}
	if c := m.Run(); c != 0 {
		code = c
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Println(err)
		code = 1
	}
	os.Exit(code)
}

func set(name string) bool {
	f := flag.Lookup(name)
	return f != nil && f.Value.String() != f.DefValue
}

// runAsPid1 runs the tests in a fresh PID namespace.
func runAsPid1() int {
	var args []string
	for _, arg := range os.Args[1:] {
		switch name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "="); name {
		case "test.coverprofile", "test.gocoverdir", "test.testlogfile", "test.outputdir", "test.paniconexit0":
		default:
			args = append(args, arg)
		}
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), role+"=rough", roughly+"=pid1")
	cmd.SysProcAttr = freshPids()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		if testing.Verbose() {
			fmt.Printf("as PID 1:\n%s", out)
		}
		return 0
	case errors.As(err, &exit) && exit.ExitCode() != 77:
		fmt.Printf("as PID 1:\n%s", out)
		return 1
	}
	fmt.Printf("SKIPPED EVERYTHING AS PID 1: this kernel or sandbox gives us no PID namespace: %v\n%s", err, out)
	return 0
}

// freshPids are the attributes of a PID 1.
func freshPids() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		// As root, or execve(2) would drop the capability to mount.
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return attr
}

func mountProc() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("proc", "/proc", "proc", 0, "")
}

// programs are what the tests start, by role.
var programs map[string]func()

func init() {
	programs = map[string]func(){
		"rough":     rough,
		"exec":      execute,
		"count":     count,
		"daemonize": daemonize,
		"hydra":     hydra,
		"bound":     bound,
		"default":   usual,
		"pgid":      func() { fmt.Println(unix.Getpid(), unix.Getpgrp()) },
	}
}

const (
	roughly  = "REAPER_TEST_ROUGHLY" // the role that rough execs
	name     = "REAPER_TEST_NAME"    // what count calls itself
	until    = "REAPER_TEST_UNTIL"   // the signal that count ends at, all else it survives
	chatter  = "REAPER_TEST_CHATTER" // execute writes to its stderr beside the child
	softOpen = 789                   // the soft limit of open files that rough leaves
)

// rough is a careless parent: it execs with every signal ignored and blocked,
// descriptors leaked and stdin closed.
func rough() {
	as := os.Getenv(roughly)
	os.Unsetenv(roughly)
	signal.Reset()
	for n := syscall.Signal(1); n <= 64; n++ {
		if n != syscall.SIGKILL && n != syscall.SIGSTOP {
			if _, err := disposition(n, &action{handler: ignored}); err != nil {
				panic(err)
			}
		}
	}
	for _, fd := range []int{5, 100, 700} {
		if err := unix.Dup2(2, fd); err != nil {
			panic(err)
		}
	}
	limit := syscall.Rlimit{}
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	limit.Cur = softOpen
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		panic(err)
	}
	unix.Close(0)
	full := unix.Sigset_t{}
	for i := range full.Val {
		full.Val[i] = ^full.Val[i]
	}
	if _, err := setMask(full); err != nil {
		panic(err)
	}
	panic(syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), role+"="+as)))
}

// execute is a small init: it runs its arguments as `wemixvisor exec` does.
func execute() {
	ctx := context.Background()
	if os.Getpid() == 1 {
		if err := mountProc(); err != nil {
			panic(err)
		}
	}
	r := New()
	go func() { _ = r.Run(ctx) }()
	p, err := func() (*Process, error) {
		file, err := Find(os.Args[1], os.Getenv("PATH"))
		if err != nil {
			return nil, err
		}
		return r.Start(ctx, Command{
			Path: file, Args: os.Args[1:], Env: os.Environ(),
			Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Terminal: true,
		})
	}()
	switch {
	case errors.Is(err, ErrNotFound):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(127)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(126)
	}
	go func() {
		for s := range signals.C {
			_ = p.Signal(s.(syscall.Signal))
		}
	}()
	if os.Getenv(chatter) != "" {
		Quietly(func() { _ = Write(os.Stderr, []byte("chatter\r\n")) })
	}
	<-p.Done()
	r.Stop(p, time.Now().Add(time.Second))
	TakeTerminal(os.Stdin)
	os.Exit(p.Exit().Status())
}

// count prints each signal it gets.
func count() {
	fmt.Println(os.Getenv(name) + "ready")
	for s := range signals.C {
		n := s.(syscall.Signal)
		fmt.Println(os.Getenv(name) + fmt.Sprint(int(n)))
		if os.Getenv(until) == fmt.Sprint(int(n)) {
			return
		}
	}
}

// daemonize starts count in a session of its own and ends.
func daemonize() {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), role+"=count", name+"=daemon ")
	cmd.Stdout = os.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: os.Getenv("REAPER_TEST_SAME_GROUP") == ""}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
}

// hydra grows another one, in a session of its own, for each SIGTERM.
func hydra() {
	fmt.Println("ready")
	for s := range signals.C {
		if s != syscall.SIGTERM {
			continue
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), role+"=hydra")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			_, _ = out.Read(make([]byte, 16)) // it is ready for its own SIGTERM
		}
		fmt.Println("grown", err)
		return
	}
}

// bound starts a bound child, prints its pid and waits to be killed.
func bound() {
	r := New()
	go func() { _ = r.Run(context.Background()) }()
	p, err := r.Start(context.Background(), Command{Path: "/bin/sleep", Args: []string{"sleep", "1000"}, Bound: true})
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Pid)
	select {}
}

// usual is a command that is no init.
func usual() {
	if os.Getenv("REAPER_TEST_EARLY") != "" { // a signal before we know who we are
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		for len(signals.C) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	signals.Default()
	fmt.Println("ready")
	select {}
}

// newReaper returns a running Reaper and expects that nobody is left at the end.
func newReaper(t *testing.T) *Reaper {
	t.Helper()
	r := New()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		left := slices.DeleteFunc(orphans(0), func(pid int) bool { return state(pid) == 'Z' }) // those it is about to collect
		if len(left) > 0 {
			t.Errorf("left behind: %v", left)
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			eventually(t, "the rest is collected", func() bool { return len(orphans(0)) == 0 })
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("want context.Canceled, have %v", err)
		}
	})
	return r
}

// start starts args with its output read line by line.
func start(t *testing.T, r *Reaper, cmd Command, args ...string) (*Process, <-chan string) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Args, cmd.Stdout = args[0], args, write
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "GORACE=" + os.Getenv("GORACE")}, cmd.Env...)
	p, err := r.Start(context.Background(), cmd)
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1<<14)
	go func() {
		defer close(lines)
		defer read.Close()
		for s := bufio.NewScanner(read); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() { // the pipe ends with the last who holds it
		if t.Failed() {
			r.Stop(p, time.Now())
		}
		for range lines {
		}
	})
	return p, lines
}

func sh(t *testing.T, r *Reaper, script string) (*Process, <-chan string) {
	t.Helper()
	return start(t, r, Command{}, "/bin/sh", "-c", script, os.Args[0])
}

// await reads lines until all of want were seen, in whatever order, and
// returns everything it read.
func await(t *testing.T, lines <-chan string, want ...string) (seen []string) {
	t.Helper()
	missing := map[string]bool{}
	for _, w := range want {
		missing[w] = true
	}
	timeout := time.After(20 * time.Second)
	for len(missing) > 0 {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatalf("want %q, have the end after %q", want, seen)
			}
			seen = append(seen, line)
			delete(missing, line)
		case <-timeout:
			t.Fatalf("want %q, have only %q", want, seen)
		}
	}
	return seen
}

// rest returns what comes until the end.
func rest(t *testing.T, lines <-chan string) (seen []string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return seen
			}
			seen = append(seen, line)
		case <-timeout:
			t.Fatalf("the output does not end; it was %q", seen)
		}
	}
}

func ended(t *testing.T, p *Process) Exit {
	t.Helper()
	select {
	case <-p.Done():
		return p.Exit()
	case <-time.After(20 * time.Second):
		t.Fatalf("process %d does not end", p.Pid)
		return Exit{}
	}
}

// eventually polls what only /proc tells.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// state is the letter of proc(5): S sleeping, T stopped, Z zombie; 0 when gone.
func state(pid int) byte {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')'):]), " ")
	return after[0]
}
