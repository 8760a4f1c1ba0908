package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/backup"
	supervisor "github.com/wemix/wemixvisor/init"
)

// Plans that do not fit, or are taken back, change nothing.
func TestPlansThatAreNotApplied(t *testing.T) {
	t.Parallel()
	g := newRig(t, oldNode, nil).start()
	g.stage("v2", newNode)
	g.stage("v3", newNode)
	g.runs("1.0.0")
	g.must(g.Schedule(Plan{Name: "v2", Height: 1 << 40}, "", false))
	g.becomes("v2", Prepared)
	for _, tc := range []struct {
		name string
		plan Plan
		want error
	}{
		{"the name is taken", Plan{Name: "v2", Height: 1 << 41}, ErrRefused},
		{"the height is taken", Plan{Name: "v3", Height: 1 << 40}, ErrRefused},
		{"past", Plan{Name: "v3", Height: 1}, ErrPast},
		{"no name", Plan{Name: "a/b", Height: 1 << 41}, ErrPlan},
	} {
		if err := g.Schedule(tc.plan, "", false); !errors.Is(err, tc.want) {
			t.Errorf("%s: have %v", tc.name, err)
		}
	}
	g.must(g.Schedule(Plan{Name: "v2", Height: 1 << 40}, "", false)) // the same twice is one
	g.must(g.Cancel("v2"))
	e := g.becomes("v2", Cancelled)
	if _, err := os.Stat(g.home.queued("v2")); !os.IsNotExist(err) {
		t.Error("it is still in the queue")
	}
	if err := g.Cancel("v2"); !errors.Is(err, ErrRefused) {
		t.Errorf("have %v", err)
	}
	if err := g.Cancel("v9"); !errors.Is(err, ErrUnknown) {
		t.Errorf("have %v", err)
	}
	if len(g.List()) != 1 {
		t.Errorf("want one plan, have %+v", g.List())
	}

	// A foreign file that is cancelled stays, and stays cancelled.
	g.plan(`{"name":"v3","height":5000000}`)
	g.becomes("v3", Prepared)
	g.must(g.Cancel("v3"))
	g.becomes("v3", Cancelled)
	// What somebody wants anew is taken anew.
	g.must(g.Schedule(Plan{Name: "v2", Height: 1 << 40}, "", false))
	if n := g.becomes("v2", Prepared); !n.Steps[0].At.After(e.Since) {
		t.Errorf("have %+v", n)
	}
	if e, _ := g.Entry("v3"); e.Stage != Cancelled {
		t.Errorf("have %s", e.Stage)
	}
	// A plan goes with its file.
	g.must(os.Remove(g.home.queued("v2")))
	if e := g.becomes("v2", Cancelled); !strings.Contains(e.Reason, "withdrawn") {
		t.Errorf("have %s", e.Reason)
	}
	if g.starts() != "1.0.0" {
		t.Errorf("have %s", g.starts())
	}
}

// A height is free again once the plan that had it is withdrawn, or cancelled.
func TestPlanTakesTheHeightOfOneThatGoes(t *testing.T) {
	t.Parallel()
	refused := make(chan string, 10)
	g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) {
		c.OnRefused = func(p Plan, why string) { refused <- p.Name + ": " + why }
	}).start()
	for _, name := range []string{"v2", "v3", "v4"} {
		g.stage(name, newNode)
	}
	g.plan(`{"name":"v2","height":5000000}`)
	g.becomes("v2", Prepared)
	g.plan(`{"name":"v3","height":5000000}`) // in its place
	g.becomes("v3", Prepared)
	g.becomes("v2", Cancelled)
	write(t, filepath.Join(g.root, "data/upgrades/5000000/upgrade-info.json"), `{"name":"v4","height":5000000}`)
	if have := <-refused; have != "v4: v3 is planned for height 5000000 already" {
		t.Errorf("have %s", have)
	}
	g.must(g.Cancel("v3"))
	g.becomes("v4", Prepared)
}

func TestAppliedNameIsNotAppliedAgain(t *testing.T) {
	t.Parallel()
	refused := make(chan string, 10)
	g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) {
		c.OnRefused = func(p Plan, why string) { refused <- p.Name + ": " + why }
	}).start()
	g.stage("v2", newNode)
	g.plan(`{"name":"v2"}`)
	g.becomes("v2", Done)
	g.plan(`{"name":"v2","height":50000}`)
	if why := <-refused; !strings.Contains(why, "was applied on") {
		t.Errorf("have %s", why)
	}
	if err := g.Schedule(Plan{Name: "v2"}, "", false); !errors.Is(err, ErrRefused) {
		t.Errorf("have %v", err)
	}
	select {
	case why := <-refused:
		t.Errorf("it was said twice: %s", why)
	default:
	}
}

func TestPlanThatIsReplacedWhilePreparing(t *testing.T) {
	t.Parallel()
	g := newRig(t, oldNode, nil).start()
	g.stage("v2", strings.Replace(newNode, `version ] && {`, `version ] && { sleep 0.5;`, 1))
	g.stage("v3", newNode)
	g.plan(`{"name":"v2","height":1000000}`)
	g.becomes("v2", Preparing)
	g.plan(`{"name":"v3","height":3}`)
	g.becomes("v2", Cancelled)
	g.becomes("v3", Done)
	if g.starts() != "1.0.0 2.0.0" {
		t.Errorf("have %s", g.starts())
	}
	g.plan(`{"name":"v2","height":1000000}`) // wanted again
	g.becomes("v2", Prepared)
	g.plan(`{"name":"v2","height":1000001}`)
	eventually(t, "the new height", func() bool { e, _ := g.Entry("v2"); return e.Stage == Prepared && e.Height == 1000001 }, nil)
}

func TestBatch(t *testing.T) {
	t.Parallel()
	g := newRig(t, oldNode, nil).start()
	b := Batch{Version: "1.0", Name: "b"}
	for i := 1; i <= 5; i++ {
		name := fmt.Sprintf("v%d", i+1)
		g.stage(name, nodeScript(fmt.Sprintf("%d.0.0", i+1), "", ""))
		b.Upgrades = append(b.Upgrades, Plan{Name: name, Height: uint64(12 * i)})
	}
	g.must(g.home.FileBatch(b, nil))
	g.becomes("v6", Done)
	if have, want := g.starts(), "1.0.0 2.0.0 3.0.0 4.0.0 5.0.0 6.0.0"; have != want {
		t.Errorf("want %s, have %s", want, have)
	}
}

// Of several that are due the highest is applied, but none with a hook skipped.
func TestSeveralAreDue(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ hook, starts string }{
		{"", "1.0.0 4.0.0"},
		{"v3", "1.0.0 3.0.0 4.0.0"},
	} {
		t.Run("hook "+tc.hook, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, oldNode, nil)
			b := Batch{Version: "1.0", Name: "b"}
			for i := 2; i <= 4; i++ {
				name := fmt.Sprintf("v%d", i)
				g.stage(name, nodeScript(fmt.Sprintf("%d.0.0", i), "", ""))
				b.Upgrades = append(b.Upgrades, Plan{Name: name, Height: uint64(i)})
				if name == tc.hook {
					put(t, filepath.Join(g.home.Dir(), "upgrades", name, "pre-upgrade"), "#!/bin/sh\nexit 0")
				}
			}
			g.start()
			g.head(6)
			g.must(g.home.FileBatch(b, nil))
			g.becomes("v4", Done)
			if have := g.starts(); have != tc.starts {
				t.Errorf("want %s, have %s", tc.starts, have)
			}
			if e, _ := g.Entry("v2"); e.Stage != Superseded {
				t.Errorf("have %s", e.Stage)
			}
			g.must(g.home.File(Plan{Name: "v1", Height: 1})) // too late
			g.becomes("v1", Superseded)
		})
	}
}

func TestHalt(t *testing.T) {
	t.Parallel()
	halting := nodeScript("1.0.0", "", `while [ $h -ge 9 ]; do sleep 0.02 9>&-; done`)
	g := newRig(t, halting, func(c *Config, _ *supervisor.Config) { c.HaltStill = 300 * time.Millisecond }).start()
	g.stage("v2", newNode)
	g.plan(`{"name":"v2","height":10,"at":"halt"}`)
	if e := g.becomes("v2", Done); e.Switch.Head != 9 {
		t.Errorf("have %d", e.Switch.Head)
	}
}

func TestTimeIsAGateToo(t *testing.T) {
	t.Parallel()
	g := newRig(t, oldNode, nil).start()
	g.stage("v2", newNode)
	at := time.Now().Add(1500 * time.Millisecond)
	g.must(g.Schedule(Plan{Name: "v2", Time: at}, "", false))
	e := g.becomes("v2", Done)
	if e.Switch.Began.Before(at) {
		t.Errorf("begun at %s, before %s", e.Switch.Began, at)
	}
}

// RPC that is down triggers nothing.
func TestHeadThatIsNotKnown(t *testing.T) {
	t.Parallel()
	g := newRig(t, oldNode, nil)
	g.silent.Store(true)
	g.start()
	g.stage("v2", newNode)
	g.plan(`{"name":"v2","height":3}`)
	g.becomes("v2", Prepared)
	eventually(t, "head 8", func() bool { return strings.HasPrefix(g.read("data/geth/chaindata/head"), "8") }, nil)
	if e, _ := g.Entry("v2"); e.Stage != Prepared {
		t.Errorf("have %s", e.Stage)
	}
	g.silent.Store(false)
	g.becomes("v2", Done)
}

func TestQuorumGate(t *testing.T) {
	t.Parallel()
	var open atomic.Bool
	var asked atomic.Int32
	g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) {
		c.Gate = func(ctx context.Context) error {
			asked.Add(1)
			for !open.Load() {
				if err := backup.Sleep(ctx, time.Millisecond); err != nil {
					return err
				}
			}
			return nil
		}
	}).start()
	g.stage("v2", newNode)
	g.plan(`{"name":"v2"}`)
	if e := g.becomes("v2", Waiting); !strings.Contains(e.Reason, "quorum") {
		for !strings.Contains(e.Reason, "quorum") {
			e = g.becomes("v2", Waiting)
		}
	}
	g.head(g.facts().Height + 4)
	if g.starts() != "1.0.0" {
		t.Error("it was stopped")
	}
	open.Store(true)
	g.becomes("v2", Done)
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// A node that works in another folder than ours is not upgraded: the snapshot
// would hold nothing.
func TestCustody(t *testing.T) {
	t.Parallel()
	elsewhere := strings.ReplaceAll(oldNode, "data/geth", "other/geth")
	g := newRig(t, elsewhere, nil).start()
	g.must(os.MkdirAll(filepath.Join(g.root, "data"), 0o755))
	g.stage("v2", newNode)
	g.plan(`{"name":"v2"}`)
	eventually(t, "it waits", func() bool {
		e, _ := g.Entry("v2")
		return e.Stage == Waiting && strings.Contains(e.Reason, "LOCK")
	}, nil)
	if g.starts() != "1.0.0" {
		t.Error("it was stopped")
	}
}
