package reaper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestExit(t *testing.T) {
	r := newReaper(t)
	for _, tc := range []struct {
		script string
		want   Exit
		status int
		text   string
	}{
		{"exit 0", Exit{}, 0, "exit status 0"},
		{"exit 1", Exit{Code: 1}, 1, "exit status 1"},
		{"exit 255", Exit{Code: 255}, 255, "exit status 255"},
		{"kill -TERM $$", Exit{Signal: syscall.SIGTERM}, 143, "killed by SIGTERM"},
		{"kill -KILL $$", Exit{Signal: syscall.SIGKILL}, 137, "killed by SIGKILL"},
		{"kill -HUP $$", Exit{Signal: syscall.SIGHUP}, 129, "killed by SIGHUP"},
		{"kill -40 $$", Exit{Signal: 40}, 168, "killed by signal 40"},
	} {
		t.Run(tc.script, func(t *testing.T) {
			p, _ := sh(t, r, tc.script)
			have := ended(t, p)
			if have != tc.want || have.Status() != tc.status || have.String() != tc.text {
				t.Fatalf("want %+v, %d, %q; have %+v, %d, %q", tc.want, tc.status, tc.text, have, have.Status(), have)
			}
		})
	}
}

func TestExitIsZeroBeforeTheEnd(t *testing.T) {
	r := newReaper(t)
	p, lines := sh(t, r, "echo ready; read x; exit 3")
	_ = lines
	p2, _ := sh(t, r, "exit 3")
	ended(t, p2)
	ended(t, p) // stdin is /dev/null
	hold, lines := sh(t, r, "echo ready; exec sleep 1000")
	await(t, lines, "ready")
	if have := hold.Exit(); have != (Exit{}) {
		t.Errorf("want nothing yet, have %v", have)
	}
	if err := hold.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ended(t, hold)
	if err := hold.Signal(syscall.SIGKILL); !errors.Is(err, ErrExited) {
		t.Errorf("want ErrExited, have %v", err)
	}
}

// Hundreds end before Start could register them, and each status is its own.
func TestInstantExits(t *testing.T) {
	r := newReaper(t)
	before := r.Reaped()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 60 {
				want := (i*60 + j) % 256
				p, err := r.Start(context.Background(), Command{Path: "/bin/sh", Args: []string{"sh", "-c", fmt.Sprint("exit ", want)}})
				if err != nil {
					t.Error(err)
					return
				}
				if have := ended(t, p); have != (Exit{Code: want}) {
					t.Errorf("want %d, have %+v", want, have)
				}
			}
		})
	}
	all.Wait()
	if have := r.Reaped() - before; have != 0 {
		t.Errorf("want no orphan, have %d", have)
	}
}

func TestOrphanStorm(t *testing.T) {
	storm := 2000
	if os.Getpid() == 1 {
		storm = 10000
	}
	r := newReaper(t)
	p, _ := sh(t, r, fmt.Sprintf("i=0; while [ $i -lt %d ]; do ( : & ) ; i=$((i+1)); done", storm))
	if have := ended2(t, p, time.Minute); have.Status() != 0 {
		t.Fatal(have)
	}
	deadline := time.Now().Add(time.Second)
	for len(orphans(0)) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d are left a second after the storm", len(orphans(0)))
		}
		time.Sleep(time.Millisecond)
	}
	// What the shell was faster to collect than to end is not ours.
	eventually(t, "each orphan was counted", func() bool { return r.Reaped() >= uint64(storm)*9/10 })
	if have := r.Reaped(); have > uint64(storm) {
		t.Errorf("want at most %d, have %d", storm, have)
	}
}

func ended2(t *testing.T, p *Process, limit time.Duration) Exit {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(limit):
		t.Fatal("does not end")
	}
	return p.Exit()
}

func TestStartNothingForTheDone(t *testing.T) {
	r := newReaper(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	file := filepath.Join(t.TempDir(), "started")
	for range 50 { // a select would choose one of two
		if _, err := r.Start(ctx, Command{Path: "/bin/sh", Args: []string{"sh", "-c", ">" + file}}); !errors.Is(err, context.Canceled) {
			t.Fatalf("want context.Canceled, have %v", err)
		}
	}
}

// lastPid makes pid the next one, which only the kernel's checkpoint support
// lets us.
func lastPid(t *testing.T, pid int) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
		t.Skipf("cannot choose pids here: %v", err)
	}
}

func TestReusedPid(t *testing.T) {
	if os.Getpid() != 1 {
		t.Skip("needs a PID namespace of our own")
	}
	r := newReaper(t)
	old, _ := sh(t, r, "exit 0")
	ended(t, old)
	young := reuse(t, r, old.Pid)
	defer ended(t, young)

	if err := old.Signal(syscall.SIGKILL); !errors.Is(err, ErrExited) {
		t.Errorf("want ErrExited, have %v: the signal went to a stranger", err)
	}
	if r.Stop(old, time.Now()) {
		t.Error("Stop killed a stranger")
	}
	if have := state(young.Pid); have != 'S' {
		t.Errorf("the stranger is %q", have)
	}
	_ = young.Signal(syscall.SIGKILL)
}

// reuse starts a process as pid.
func reuse(t *testing.T, r *Reaper, pid int) *Process {
	t.Helper()
	for range 100 { // threads of ours take pids too
		lastPid(t, pid)
		p, lines := sh(t, r, "echo ready; exec sleep 1000")
		await(t, lines, "ready")
		if p.Pid == pid {
			eventually(t, "it sleeps", func() bool { return state(pid) == 'S' })
			return p
		}
		_ = p.Signal(syscall.SIGKILL)
		ended(t, p)
	}
	t.Skip("could not get the pid again")
	return nil
}

// An orphan ends while a start is under way, and the new process gets its pid:
// the orphan's status is not the new one's.
func TestReusedPidOfAnOrphan(t *testing.T) {
	if os.Getpid() != 1 {
		t.Skip("needs a PID namespace of our own")
	}
	r := newReaper(t)
	script := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		p, lines := sh(t, r, "sleep 1000 >/dev/null & echo $!")
		orphan, err := strconv.Atoi(await1(t, lines))
		if err != nil {
			t.Fatal(err)
		}
		ended(t, p)

		busy, err := os.OpenFile(script, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		started := make(chan *Process, 1)
		go func() { // it is text busy until we close
			p, err := r.Start(context.Background(), Command{Path: script, Args: []string{script}})
			if err != nil {
				t.Error(err)
			}
			started <- p
		}()
		eventually(t, "the start is under way", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.starting > 0
		})
		_ = syscall.Kill(orphan, syscall.SIGKILL)
		eventually(t, "the orphan's status is parked", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			_, parked := r.parked[orphan]
			return parked
		})
		lastPid(t, orphan)
		busy.Close()
		young := <-started
		if young == nil {
			t.FailNow()
		}
		same := young.Pid == orphan
		select {
		case <-young.Done():
			t.Errorf("pid %d: %v is the orphan's end, and it runs: %c", orphan, young.Exit(), state(young.Pid))
			_ = syscall.Kill(young.Pid, syscall.SIGKILL)
			return
		default:
		}
		_ = young.Signal(syscall.SIGKILL)
		if have := ended(t, young); have.Status() != 137 {
			t.Errorf("want 137, have %v", have)
		}
		if same {
			return
		}
	}
	t.Skip("could not get the pid again")
}

func await1(t *testing.T, lines <-chan string) string {
	t.Helper()
	select {
	case line := <-lines:
		return strings.TrimSpace(line)
	case <-time.After(20 * time.Second):
		t.Fatal("it says nothing")
		return ""
	}
}

func TestBoundDiesWithUs(t *testing.T) {
	r := newReaper(t)
	p, lines := start(t, r, Command{Env: []string{role + "=bound"}}, os.Args[0])
	child, err := strconv.Atoi(await1(t, lines))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it runs", func() bool { return state(child) == 'S' })
	_ = p.Signal(syscall.SIGKILL)
	ended(t, p)
	eventually(t, "it is gone", func() bool { return state(child) == 0 })
}
