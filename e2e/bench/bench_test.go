package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be its own stage and child.
func TestMain(m *testing.M) {
	if inNamespace(os.Args[1:], clock()) {
		return
	}
	os.Exit(m.Run())
}

// One short round over what is installed: it measures everything, and what it
// says must never happen does not.
func TestRound(t *testing.T) {
	if _, err := exec.LookPath("dash"); err != nil {
		t.Skip("dash is not installed")
	}
	cs := contestants("")
	if len(inits(cs)) == 0 {
		t.Skip("no init is installed")
	}
	runtime.LockOSThread() // a namespace ends with the thread that started it
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := open(ctx, cs[1], "true")
	if err != nil && (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC)) {
		t.Skip("no namespaces here:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.close()

	short := course{
		starts: 1, signals: 20, orphans: 200, enough: time.Minute,
		settle: 50 * time.Millisecond, lull: 50 * time.Millisecond, idle: 100 * time.Millisecond,
	}
	tab := newTable(cs, "")
	rounds, err := short.measure(ctx, tab, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	if rounds != 1 {
		t.Fatalf("want 1 round, have %d", rounds)
	}
	for _, c := range inits(cs) {
		for _, r := range tab.rows() {
			if r != tab.runRSS && len(r.values[c.name]) == 0 {
				t.Errorf("%s: nothing measured of %s", r.name, c.name)
			}
		}
		for _, r := range []*row{tab.lost, tab.left} {
			if n := r.value(c.name); n != 0 {
				t.Errorf("%s: %v of %s", r.name, n, c.name)
			}
		}
	}
}

// An init that never starts its child is an error, not a row of zeros.
func TestDeadInit(t *testing.T) {
	path, err := exec.LookPath("false")
	if err != nil {
		t.Skip(err)
	}
	runtime.LockOSThread()
	if _, _, err := measureStart(t.Context(), contestant{"false", []string{path}}); err == nil {
		t.Fatal("want an error, have none")
	}
}
