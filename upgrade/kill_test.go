//go:build failpoint

package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/reaper"
)

// course is an upgrade that is disturbed at each of its moments.
type course struct {
	name string
	new  string // script of the new binary
	hook string // script of its pre-upgrade, or empty
	end  Stage  // how the plan is in the end, left alone
}

var courses = []course{
	{"done", newNode, "", Done},
	{"hook", newNode, "#!/bin/sh\necho spoilt > data/geth/chaindata/hooked; exit 0", Done},
	{"rolled back", badNode, "", RolledBack},
	{"aborted", newNode, "#!/bin/sh\necho spoilt > data/geth/chaindata/hooked; exit 30", Failed},
}

// volume lays out what a course begins with.
func (c course) volume(t *testing.T) (string, Home) {
	t.Helper()
	root := t.TempDir()
	h := lay(t, root, oldNode)
	put(t, h.binary("upgrades/v2"), c.new)
	if c.hook != "" {
		put(t, filepath.Join(h.Dir(), "upgrades/v2/pre-upgrade"), c.hook)
	}
	if err := h.File(Plan{Name: "v2", Height: 3}); err != nil {
		t.Fatal(err)
	}
	return root, h
}

// child runs the supervisor over root with a failpoint set, until it ends by
// itself or the plan has; then it is told to. It returns how it ended.
func child(t *testing.T, root, point, passed string) error {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(root, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	fmt.Fprintln(log, "--- child", point)
	p, err := children.Start(context.Background(), reaper.Command{
		Path: exe, Args: []string{exe, root}, Stderr: log,
		Env: append(os.Environ(), role+"=supervise", "WEMIXVISOR_FAILPOINT="+point, "WEMIXVISOR_FAILPOINT_LOG="+passed),
	})
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for {
		select {
		case <-p.Done():
			if e := p.Exit(); e.Status() != 0 {
				return errors.New(e.String())
			}
			return nil
		case <-tick.C:
			j := NewJournal(Home{Root: root, Name: "wemixd"}, "test")
			if _, err := os.Stat(j.file); err != nil {
				continue
			}
			text, err := os.ReadFile(j.file)
			if err != nil {
				continue
			}
			s, err := decodeState(text)
			if err != nil {
				t.Errorf("the journal cannot be read: %v", err)
				continue
			}
			if r := s.record("v2"); r != nil && r.Stage.Over() && settledDown(root, r) {
				_ = p.Signal(syscall.SIGTERM)
			}
		case <-deadline:
			_ = p.Signal(syscall.SIGKILL)
			<-p.Done()
			text, _ := os.ReadFile(filepath.Join(root, "log"))
			t.Fatalf("it does not end; log:\n%s", text)
		}
	}
}

// settledDown reports whether the node that ought to run answers.
func settledDown(root string, r *Record) bool {
	want := "1.0.0"
	if r.Stage == Done {
		want = "2.0.0"
	}
	starts, _ := os.ReadFile(filepath.Join(root, "starts"))
	return strings.HasSuffix(strings.TrimSpace(string(starts)), want)
}

// collectStray ends what a killed supervisor's node left. In a container the
// kernel does that with the namespace.
func collectStray(root string) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		f, err := os.Open(filepath.Join(root, "data/geth/LOCK"))
		if err != nil {
			return
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		f.Close()
		if err == nil {
			return
		}
	}
}

// sound checks what must be so whatever happened: the plan is at its end, the
// link names a binary that fits, the identity is what it was, and no snapshot of
// a broken-off attempt is left.
func (c course) sound(t *testing.T, root, what, key string) {
	t.Helper()
	h := Home{Root: root, Name: "wemixd"}
	text, err := os.ReadFile(h.journal())
	if err != nil {
		t.Fatal(err)
	}
	s, err := decodeState(text)
	if err != nil {
		t.Fatal(err)
	}
	r := s.record("v2")
	fail := func(format string, args ...any) {
		t.Helper()
		log, _ := os.ReadFile(filepath.Join(root, "log"))
		t.Fatalf("%s, %s: %s\n%s", c.name, what, fmt.Sprintf(format, args...), log)
	}
	if r == nil {
		fail("no plan")
	}
	if r.Stage != c.end {
		fail("want %s, have %s: %s", c.end, r.Stage, r.Reason)
	}
	want := "genesis"
	if c.end == Done {
		want = "v2"
	}
	if h.Current() != want {
		fail("current is %s", h.Current())
	}
	if have, _ := os.ReadFile(filepath.Join(root, "data/geth/nodekey")); key != "" && string(have) != key {
		fail("identity was %q and is %q", key, have)
	}
	done := 0
	for _, step := range r.Steps {
		if step.Stage == c.end {
			done++
		}
	}
	if done != 1 {
		fail("it came %d times to its end: %+v", done, r.Steps)
	}
	if c.name == "aborted" {
		if _, err := os.Stat(filepath.Join(root, "data/geth/chaindata/hooked")); err == nil {
			fail("what the hook wrote is still there")
		}
	}
	if c.name == "rolled back" && !strings.Contains(r.Reason, "data stays") {
		if _, err := os.Stat(filepath.Join(root, "data/geth/chaindata/spoilt")); err == nil && r.Switch.Clean {
			fail("what the new binary wrote is still there")
		}
	}
}

// run drives a course to its end, with one disturbance.
func (c course) run(t *testing.T, point string) (key string, root string) {
	t.Helper()
	root, _ = c.volume(t)
	passed := filepath.Join(root, "passed")
	first := child(t, root, point, passed)
	collectStray(root)
	b, _ := os.ReadFile(filepath.Join(root, "data/geth/nodekey"))
	key = string(b)
	for range 5 {
		if c.over(root) {
			break
		}
		if first == nil && strings.HasSuffix(point, "=exit") {
			t.Logf("%s was not passed", point)
		}
		_ = child(t, root, "", passed)
		collectStray(root)
	}
	return key, root
}

func (c course) over(root string) bool {
	text, err := os.ReadFile(Home{Root: root, Name: "wemixd"}.journal())
	if err != nil {
		return false
	}
	s, err := decodeState(text)
	if err != nil {
		return false
	}
	r := s.record("v2")
	return r != nil && r.Stage.Over() && settledDown(root, r)
}

// points returns the moments that a course passes, each once.
func (c course) points(t *testing.T) []string {
	t.Helper()
	root, _ := c.volume(t)
	passed := filepath.Join(root, "passed")
	if err := child(t, root, "", passed); err != nil {
		log, _ := os.ReadFile(filepath.Join(root, "log"))
		t.Fatalf("%v\n%s", err, log)
	}
	c.sound(t, root, "undisturbed", "")
	text, err := os.ReadFile(passed)
	if err != nil {
		t.Fatal(err)
	}
	var points []string
	for _, p := range strings.Fields(string(text)) {
		if !slices.Contains(points, p) {
			points = append(points, p)
		}
	}
	return points
}

// Whatever the moment at which the program is killed, or told to stop: the next
// starts end at the old binary or the new one, by themselves.
func TestDisturbedAtEachMoment(t *testing.T) {
	short := os.Getenv("WEMIXVISOR_LONG") == ""
	for _, c := range courses {
		t.Run(c.name, func(t *testing.T) {
			points := c.points(t)
			for _, action := range []string{"exit", "term"} {
				for _, p := range points {
					// In a short run, kill -9 at the moments of a switch alone.
					others := slices.ContainsFunc([]string{"backup.", "journal.", "plan."}, func(of string) bool { return strings.HasPrefix(p, of) })
					if short && (others || action != "exit" || c.name != "hook" && c.name != "rolled back") {
						continue
					}
					key, root := c.run(t, p+"="+action)
					c.sound(t, root, p+" "+action, key)
				}
			}
			t.Logf("%d moments", len(points))
		})
	}
}

// The same again and again at any moment, with kill -9 and TERM from outside.
func TestDisturbedAtRandom(t *testing.T) {
	longer(t)
	for i := range 100 {
		c := courses[i%len(courses)]
		root, _ := c.volume(t)
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		for try := range 3 {
			sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[(i+try)%2]
			p, err := children.Start(context.Background(), reaper.Command{
				Path: exe, Args: []string{exe, root}, Env: append(os.Environ(), role+"=supervise"),
			})
			if err != nil {
				t.Fatal(err)
			}
			select {
			case <-p.Done():
			case <-time.After(time.Duration(50+(i*37+try*211)%1500) * time.Millisecond):
				_ = p.Signal(sig)
			}
			select {
			case <-p.Done():
			case <-time.After(30 * time.Second):
				_ = p.Signal(syscall.SIGKILL)
				t.Fatal("it does not end")
			}
			collectStray(root)
		}
		b, _ := os.ReadFile(filepath.Join(root, "data/geth/nodekey"))
		for range 5 {
			if c.over(root) {
				break
			}
			_ = child(t, root, "", filepath.Join(root, "passed"))
			collectStray(root)
		}
		if c.end == Done && !c.over(root) {
			t.Errorf("%s: not over", c.name)
		}
		h := Home{Root: root, Name: "wemixd"}
		if cur := h.Current(); cur != "genesis" && cur != "v2" {
			t.Errorf("current is %q", cur)
		}
		if have, _ := os.ReadFile(filepath.Join(root, "data/geth/nodekey")); len(b) > 0 && string(have) != string(b) {
			t.Errorf("identity has changed")
		}
	}
}
