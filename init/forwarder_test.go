package supervisor

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/reaper"
)

// Each signal that a Go program can catch, sent to an init from outside,
// arrives at its program, once.
func TestEverySignalArrives(t *testing.T) {
	for _, as := range []string{"subreaper", "PID 1"} {
		for _, signalMap := range []string{"", "HUP=0,USR1=RTMIN+5"} {
			t.Run(as+" "+signalMap, func(t *testing.T) {
				cmd := exec.Command(os.Args[0], os.Args[0])
				cmd.Env = append(os.Environ(), role+"=init", "SUPERVISOR_TEST_MAP="+signalMap)
				cmd.Stderr = os.Stderr
				if as == "PID 1" {
					probe := exec.Command(os.Args[0], "/bin/true")
					probe.Env = append(os.Environ(), role+"=init")
					probe.SysProcAttr = freshPids()
					if err := probe.Run(); err != nil {
						t.Skipf("NO PID NAMESPACE HERE: %v", err)
					}
					cmd.SysProcAttr = freshPids()
				}
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				lines := make(chan string)
				go func() {
					defer close(lines)
					for s := bufio.NewScanner(out); s.Scan(); {
						lines <- s.Text()
					}
				}()
				line := func() string {
					select {
					case l := <-lines:
						return l
					case <-time.After(20 * time.Second):
						return "silence"
					}
				}
				if have := line(); have != "ready" {
					t.Fatal(have)
				}
				for n := syscall.Signal(1); n <= 64; n++ {
					want := n
					switch {
					case slices.Contains([]syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPROF, 32, 33, 34}, n):
						continue
					case signalMap != "" && n == syscall.SIGHUP:
						_ = cmd.Process.Signal(n) // dropped: the next line is of the next one
						continue
					case signalMap != "" && n == syscall.SIGUSR1:
						want = 39
					}
					if err := cmd.Process.Signal(n); err != nil {
						t.Fatal(err)
					}
					if have := line(); have != strconv.Itoa(int(want)) {
						t.Errorf("signal %d: want %d, have %s", n, want, have)
					}
				}
				if have := line(); have != "" {
					t.Errorf("want the end, have %s", have)
				}
				if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
					t.Errorf("want 5, have %v", cmd.ProcessState)
				}
			})
		}
	}
}

func TestForwarder(t *testing.T) {
	r := reaper.New()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{}, 2)
	go func() { _ = r.Run(ctx); over <- struct{}{} }()
	defer func() { cancel(); <-over }()

	queue := make(chan os.Signal)
	var target *reaper.Process
	kept := make(chan syscall.Signal, 10)
	f := &Forwarder{
		Signals: queue,
		Map:     SignalMap{syscall.SIGUSR2: syscall.SIGTERM, syscall.SIGHUP: 0},
		Target:  func() *reaper.Process { return target },
		Keep:    func(s syscall.Signal) bool { kept <- s; return s == syscall.SIGTERM },
	}
	fctx, stop := context.WithCancel(ctx)
	go func() {
		if err := f.Run(fctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		over <- struct{}{}
	}()
	queue <- syscall.SIGUSR1 // nobody is there
	queue <- syscall.SIGHUP  // dropped
	queue <- syscall.SIGUSR2 // kept, by what it became
	queue <- os.Interrupt
	stop()
	<-over
	var have []string
	for len(kept) > 0 {
		have = append(have, SignalName(<-kept))
	}
	if want := "USR1 TERM INT"; strings.Join(have, " ") != want {
		t.Errorf("want %s, have %s", want, have)
	}
	p, err := r.Start(ctx, reaper.Command{Path: "/bin/sleep", Args: []string{"sleep", "1000"}})
	if err != nil {
		t.Fatal(err)
	}
	target = p
	f.forward(syscall.SIGKILL)
	<-p.Done()
	f.forward(syscall.SIGINT) // too late, and not counted
	if k, i := f.Sent[syscall.SIGKILL].Load(), f.Sent[syscall.SIGINT].Load(); k != 1 || i != 0 {
		t.Errorf("want 1 and 0, have %d and %d", k, i)
	}
}
