package supervisor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestIdleHoldsANodeDownThatIsDown(t *testing.T) {
	g := newRig(t, "exec sleep 1000", nil)
	g.is(Running)
	nothing := func(context.Context) error { return nil }
	if err := g.Idle(t.Context(), "backup", "", nothing); !errors.Is(err, ErrRunning) {
		t.Fatalf("want it refused while the node runs, have %v", err)
	}
	if err := g.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := g.Idle(t.Context(), "backup", "b", func(context.Context) error {
		if c := g.Status().Change; c == nil || c.Kind != "backup" || c.Name != "b" {
			t.Errorf("want the change shown, have %+v", c)
		}
		if err := g.Start(t.Context(), nil); !errors.Is(err, ErrBusy) {
			t.Errorf("want nobody to start it meanwhile, have %v", err)
		}
		return nil
	})
	if st := g.Status(); err != nil || st.State != Stopped || !st.Held || st.Change != nil {
		t.Fatalf("want it as it was, have %v %+v", err, st)
	}
}

// A process in the middle of a vfork(2) does not stop while its child does.
func TestFrozenNodeThatForksAllTheTime(t *testing.T) {
	g := newRig(t, "(while :; do /bin/true; done) &\nwhile :; do /bin/true; done", nil)
	g.is(Running)
	for range 50 {
		if err := g.Frozen(t.Context(), "backup", "", func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFrozenNodeStandsStillAndGoesOn(t *testing.T) {
	g := newRig(t, "(while :; do echo . >> child; sleep 0.01; done) &\nwhile :; do echo . >> parent; sleep 0.01; done", nil)
	g.is(Running)
	size := func(name string) int64 {
		fi, err := os.Stat(filepath.Join(g.dir, name))
		if err != nil {
			return 0
		}
		return fi.Size()
	}
	grows := func() {
		t.Helper()
		for _, name := range []string{"parent", "child"} {
			was := size(name)
			eventually(t, name+" at work", func() bool { return size(name) != was })
		}
	}
	grows()
	err := g.Frozen(t.Context(), "backup", "", func(context.Context) error {
		parent, child := size("parent"), size("child")
		time.Sleep(100 * time.Millisecond) // what must not happen takes time
		if size("parent") != parent || size("child") != child {
			t.Error("want nothing written while it is frozen")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	grows()
	if err := g.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Frozen(t.Context(), "backup", "", nil); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("want nothing to freeze, have %v", err)
	}
}
