package reaper

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// counted returns how often sig is among what count printed under that name.
func counted(seen []string, name string, sig syscall.Signal) (n int) {
	for _, line := range seen {
		if line == name+strconv.Itoa(int(sig)) {
			n++
		}
	}
	return n
}

// family is a node that counts signals with a daemon that left its group and
// another one that did not. ends is the signal they end at.
func family(t *testing.T, r *Reaper, ends string) (*Process, <-chan string) {
	t.Helper()
	p, lines := sh(t, r, fmt.Sprintf(`
		export %[4]s=%[5]s
		%[1]s=daemonize "$0"
		%[1]s=daemonize REAPER_TEST_SAME_GROUP=1 "$0"
		%[1]s=count %[2]s='%[3]s' exec "$0"`, role, name, "node ", until, ends))
	seen := await(t, lines, "node ready", "daemon ready")
	for len(slices.DeleteFunc(slices.Clone(seen), func(s string) bool { return s != "daemon ready" })) < 2 {
		seen = append(seen, await(t, lines, "daemon ready")...)
	}
	return p, lines
}

func TestStopEndsEarly(t *testing.T) {
	r := newReaper(t)
	p, lines := family(t, r, "15")
	began := time.Now()
	if r.Stop(p, began.Add(15*time.Second)) {
		t.Error("want no SIGKILL")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("nobody was left, and it took %s", took)
	}
	if have := ended(t, p); have.Status() != 0 {
		t.Error(have)
	}
	seen := rest(t, lines)
	if n, d := counted(seen, "node ", syscall.SIGTERM), counted(seen, "daemon ", syscall.SIGTERM); n != 1 || d != 2 {
		t.Errorf("want one SIGTERM for each, have %d and %d: %q", n, d, seen)
	}
}

func TestStopKillsAfterTheGrace(t *testing.T) {
	r := newReaper(t)
	p, lines := family(t, r, "never")
	began := time.Now()
	if !r.Stop(p, began.Add(time.Second)) {
		t.Error("want SIGKILL")
	}
	if took := time.Since(began); took < time.Second || took > 10*time.Second {
		t.Errorf("want a second, have %s", took)
	}
	if have := ended(t, p); have.Signal != syscall.SIGKILL {
		t.Error(have)
	}
	seen := rest(t, lines)
	if n, d := counted(seen, "node ", syscall.SIGTERM), counted(seen, "daemon ", syscall.SIGTERM); n != 1 || d != 2 {
		t.Errorf("want one SIGTERM for each, have %d and %d: %q", n, d, seen)
	}
}

func TestStopOfTheEnded(t *testing.T) {
	r := newReaper(t)
	p, lines := sh(t, r, fmt.Sprintf(`%s=15; export %[1]s; %s=daemonize "$0"; exit 3`, until, role))
	await(t, lines, "daemon ready")
	ended(t, p)
	if r.Stop(p, time.Now().Add(10*time.Second)) {
		t.Error("want no SIGKILL")
	}
	if seen := rest(t, lines); counted(seen, "daemon ", syscall.SIGTERM) != 1 {
		t.Errorf("want one SIGTERM, have %q", seen)
	}
}

func TestStopOfTheStopped(t *testing.T) {
	r := newReaper(t)
	p, lines := sh(t, r, "echo ready; exec sleep 1000")
	await(t, lines, "ready")
	_ = p.Signal(syscall.SIGSTOP)
	eventually(t, "it is stopped", func() bool { return state(p.Pid) == 'T' })
	if r.Stop(p, time.Now().Add(10*time.Second)) {
		t.Error("want no SIGKILL")
	}
	if have := ended(t, p); have.Signal != syscall.SIGTERM {
		t.Error(have)
	}
}

// Whoever answers SIGTERM with another one in a new session is outlasted.
func TestStopOfTheHydra(t *testing.T) {
	r := newReaper(t)
	p, lines := start(t, r, Command{Env: []string{role + "=hydra"}}, os.Args[0])
	await(t, lines, "ready")
	if !r.Stop(p, time.Now().Add(time.Second)) {
		t.Error("want SIGKILL")
	}
	if seen := rest(t, lines); len(seen) != 1 || seen[0] != "grown <nil>" {
		t.Errorf("want it to grow, have %q", seen)
	}
}

// Helpers are started, run and end while the node takes its grace. None of
// them is of its generation, nor is what they leave in their groups.
func TestStopSparesHelpers(t *testing.T) {
	r := newReaper(t)
	helper, said := sh(t, r, fmt.Sprintf(`
		export %[3]s=15
		REAPER_TEST_SAME_GROUP=1 %[1]s=daemonize "$0"
		%[1]s=count %[2]s="helper " exec "$0"`, role, name, until))
	await(t, said, "helper ready", "daemon ready")
	p, lines := start(t, r, Command{Env: []string{role + "=count"}}, os.Args[0])
	await(t, lines, "ready")

	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.Stop(p, time.Now().Add(1500*time.Millisecond))
	}()
	for runs := 0; ; runs++ {
		text, exit, err := r.Output(context.Background(), Command{Path: "/bin/sh", Args: []string{"sh", "-c", "echo hello"}}, 100)
		if err != nil || exit != (Exit{}) || string(text) != "hello\n" {
			t.Fatalf("run %d: want hello, have %q, %v, %v", runs, text, exit, err)
		}
		select {
		case <-stopped:
		default:
			continue
		}
		break
	}
	rest(t, lines)
	if len(said) > 0 || state(helper.Pid) == 0 {
		t.Errorf("the helper got %q", <-said)
	}
	if r.Stop(helper, time.Now().Add(10*time.Second)) {
		t.Error("want no SIGKILL")
	}
	if seen := rest(t, said); counted(seen, "helper ", syscall.SIGTERM) != 1 || counted(seen, "daemon ", syscall.SIGTERM) != 1 {
		t.Errorf("want one SIGTERM each, have %q", seen)
	}
}
