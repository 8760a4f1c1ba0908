package supervisor

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/reaper"
	"github.com/wemix/wemixvisor/reaper/signals"
)

// role says which of the programs below the test binary is.
const role = "SUPERVISOR_TEST_ROLE"

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector sleeps a second in every exit(0)
	as := os.Getenv(role)
	os.Unsetenv(role)
	switch as {
	case "init":
		execute()
		return
	case "count":
		count()
		return
	case "run":
		supervise()
		return
	}
	flag.Parse()
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Println(err)
		code = 1
	}
	os.Exit(code)
}

// execute is an init in its smallest form: one program and the forwarder.
func execute() {
	ctx := context.Background()
	if os.Getpid() == 1 {
		_ = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			panic(err)
		}
	}
	signalMap, err := ParseSignalMap(os.Getenv("SUPERVISOR_TEST_MAP"))
	if err != nil {
		panic(err)
	}
	r := reaper.New()
	go func() { _ = r.Run(ctx) }()
	p, err := r.Start(ctx, reaper.Command{Path: os.Args[1], Args: os.Args[1:], Env: append(os.Environ(), role+"=count"), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
	if err != nil {
		panic(err)
	}
	f := &Forwarder{Signals: signals.C, Map: signalMap, Target: func() *reaper.Process { return p }}
	go func() { _ = f.Run(ctx) }()
	<-p.Done()
	os.Exit(p.Exit().Status())
}

// count prints each signal it gets and ends with the last one there is.
func count() {
	fmt.Println("ready")
	for s := range signals.C {
		fmt.Println(int(s.(syscall.Signal)))
		if s == syscall.Signal(rtmax) {
			os.Exit(5)
		}
	}
}

// supervise runs a node as a supervisor would outside a container.
func supervise() {
	ctx := context.Background()
	r := reaper.New()
	go func() { _ = r.Run(ctx) }()
	s := New(Config{
		Reaper: r, Logger: log.NewNopLogger(), Grace: time.Second, Stdout: os.Stdout,
		Program: func() (string, error) { return "/bin/sh", nil }, Args: os.Args[1:],
	})
	_ = s.Run(ctx)
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

// rig is a Supervisor whose node is a shell script.
type rig struct {
	*Supervisor
	t      *testing.T
	dir    string
	cancel context.CancelFunc
	ended  chan error // what Run returned

	mu     sync.Mutex
	logs   bytes.Buffer
	states []State
	ends   []Ended
}

// newRig returns a running Supervisor of the script, which runs in a directory
// of its own; edit may change the configuration.
func newRig(t *testing.T, script string, edit func(*Config)) *rig {
	t.Helper()
	g := prepareRig(t, script, edit)
	g.run()
	return g
}

func prepareRig(t *testing.T, script string, edit func(*Config)) *rig {
	t.Helper()
	g := &rig{t: t, dir: t.TempDir(), ended: make(chan error, 1)}
	r := reaper.New()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { defer close(over); _ = r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-over })

	g.write("node", script)
	cfg := Config{
		Reaper:           r,
		Logger:           log.NewLogfmtLogger(log.NewSyncWriter(writer(func(p []byte) { g.logs.Write(p) }, &g.mu))),
		Program:          func() (string, error) { return filepath.Join(g.dir, "node"), nil },
		Env:              []string{"PATH=" + os.Getenv("PATH")},
		Dir:              g.dir,
		Grace:            10 * time.Second,
		RestartOnFailure: true,
		MaxRestarts:      5,
		RestartWindow:    time.Minute,
		OnTransition: func(from, to Status) {
			g.mu.Lock()
			defer g.mu.Unlock()
			if from.State != to.State {
				g.states = append(g.states, to.State)
			}
		},
		OnEnded: func(e Ended) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.ends = append(g.ends, e)
		},
	}
	if edit != nil {
		edit(&cfg)
	}
	g.Supervisor = New(cfg)
	return g
}

func (g *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	go func() { g.ended <- g.Run(ctx) }()
	g.t.Cleanup(func() {
		cancel()
		select {
		case <-g.Closed():
		case <-time.After(30 * time.Second):
			g.t.Error("Run does not return")
		}
		if g.t.Failed() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.t.Logf("%s", g.logs.Bytes())
		}
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func writer(f func([]byte), mu *sync.Mutex) writerFunc {
	return func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		f(p)
		return len(p), nil
	}
}

// write makes or replaces a script of the rig.
func (g *rig) write(name, script string) {
	g.t.Helper()
	file := filepath.Join(g.dir, name)
	if err := os.WriteFile(file+".new", []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		g.t.Fatal(err)
	}
}

// says waits until the node has written text n times.
func (g *rig) says(text string, n int) {
	g.t.Helper()
	timeout := time.After(20 * time.Second)
	var all []byte
	for next := int64(0); ; {
		more, end, changed := g.Tail().From(next)
		all, next = append(all, more...), end
		if bytes.Count(all, []byte(text)) >= n {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			g.t.Fatalf("want %d times %q, have %q", n, text, all)
		}
	}
}

// is waits for a state of the node.
func (g *rig) is(want State) Status {
	g.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if st := g.Status(); st.State == want {
			return st
		} else if time.Now().After(deadline) {
			g.t.Fatalf("want %s, have %+v", want, st)
		}
	}
}

// result waits for Run to return.
func (g *rig) result() error {
	g.t.Helper()
	select {
	case err := <-g.ended:
		g.ended <- err
		return err
	case <-time.After(30 * time.Second):
		g.t.Fatal("Run does not return")
		return nil
	}
}

// last returns how the node ended the last time, and how often it did.
func (g *rig) last() (Ended, int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.ends) == 0 {
		return Ended{}, 0
	}
	return g.ends[len(g.ends)-1], len(g.ends)
}

func (g *rig) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *rig) wants(err, want error) {
	g.t.Helper()
	if !errors.Is(err, want) {
		g.t.Fatalf("want %v, have %v", want, err)
	}
}

func (g *rig) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(g.dir, name))
	return string(b)
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func (g *rig) remove(name string) {
	g.t.Helper()
	g.must(os.Remove(filepath.Join(g.dir, name)))
}
