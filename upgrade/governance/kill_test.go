//go:build failpoint

package governance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/upgrade"
)

// TestKilledAtEachMoment has a plan filed, and withdrawn, by watchers that are
// killed on the way. The next one ends it as if nothing had happened.
func TestKilledAtEachMoment(t *testing.T) {
	r := record(t, "wemix-spoa-governed.json")
	r.mend()
	url := r.serve()
	child := func(root string, stage Stage, point, passed string) (int, string) {
		t.Helper()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), role+"="+string(stage), "GOVERNANCE_TEST_RPC="+url, "GOVERNANCE_TEST_HOME="+root,
			"WEMIXVISOR_FAILPOINT="+point, "WEMIXVISOR_FAILPOINT_LOG="+passed)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	for _, course := range []struct {
		stage  Stage
		forked bool
		queue  string // in the end
		why    string
	}{
		{Scheduled, false, "v0.10.10@500 by governance", ""},
		{Withdrawn, true, "", "the chain was re-organised and the block it passed in is gone; its plan is withdrawn"},
	} {
		begin := func() *watch {
			v := &watch{t: t, home: home(t)}
			r.forked.Store(false)
			if course.forked {
				if code, out := child(v.home.Root, Scheduled, "", ""); code != 0 {
					t.Fatalf("not filed: %s", out)
				}
			}
			r.forked.Store(course.forked)
			return v
		}
		passed := filepath.Join(t.TempDir(), "passed")
		if code, out := child(begin().home.Root, course.stage, "", passed); code != 0 {
			t.Fatalf("want it %s, have %d %s", course.stage, code, out)
		}
		text, err := os.ReadFile(passed)
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		points := strings.Fields(string(text))
		if len(points) < 6 {
			t.Fatalf("want moments to be killed at, have %v", points)
		}
		for _, point := range points {
			count[point]++
			at := fmt.Sprintf("%s#%d=exit", point, count[point])
			t.Run(string(course.stage)+" "+at, func(t *testing.T) {
				v := begin()
				v.t = t
				if code, out := child(v.home.Root, course.stage, at, ""); code != 137 {
					t.Fatalf("want it killed, have %d %s", code, out)
				}
				if have := v.queued(); have != "" && have != "v0.10.10@500 by governance" {
					t.Errorf("have %s in the queue", have)
				}
				if code, out := child(v.home.Root, course.stage, "", ""); code != 0 {
					t.Fatalf("want it %s, have %d %s", course.stage, code, out)
				}
				s, err := load(stateFile(v.home))
				if err != nil {
					t.Fatal(err)
				}
				if p := find(s.Proposals, "1"); v.queued() != course.queue || p == nil || p.Stage != course.stage || p.Reason != course.why {
					t.Errorf("want %q, have %q, %+v", course.queue, v.queued(), p)
				}
				if left, _ := filepath.Glob(filepath.Join(v.home.Dir(), "*", ".*")); len(left) > 1 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
}

// TestCancelledPlanKeepsItsMoment: what an operator took out between the kill and
// the next start does not come back as a newer filing.
func TestCancelledPlanKeepsItsMoment(t *testing.T) {
	r := record(t, "wemix-spoa-governed.json")
	r.mend()
	url := r.serve()
	h := home(t)
	run := func(point string) int {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), role+"="+string(Scheduled), "GOVERNANCE_TEST_RPC="+url, "GOVERNANCE_TEST_HOME="+h.Root, "WEMIXVISOR_FAILPOINT="+point)
		_ = cmd.Run()
		return cmd.ProcessState.ExitCode()
	}
	if code := run("governance.filed=exit"); code != 137 {
		t.Fatalf("want it killed, have %d", code)
	}
	before, err := h.Filed("v0.10.10")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Withdraw(before.Name); err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Until(before.Filed.Truncate(time.Second).Add(time.Second))) // filed anew it would bear another one
	if code := run(""); code != 0 {
		t.Fatalf("want it filed, have %d", code)
	}
	after, err := h.Filed("v0.10.10")
	if err != nil || !after.Filed.Equal(before.Filed) || after.By != upgrade.ByGovernance {
		t.Errorf("want the same filing, which the journal knows as cancelled; have %+v %v", after, err)
	}
}
