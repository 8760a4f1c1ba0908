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
	"github.com/wemix/wemixvisor/reaper"
)

var (
	oldNode = nodeScript("1.0.0", "", "")
	newNode = nodeScript("2.0.0", "", "")
	badNode = nodeScript("2.0.0", `echo "Fatal: could not open database" >&2; echo spoilt > data/geth/chaindata/spoilt; exit 1`, "")
)

// longer leaves tests that take a while to make test-long.
func longer(t *testing.T) {
	t.Helper()
	if os.Getenv("WEMIXVISOR_LONG") == "" {
		t.Skip("takes long; set WEMIXVISOR_LONG")
	}
}

func TestUpgradeAtAHeight(t *testing.T) {
	t.Parallel()
	g := newRig(t, oldNode, nil).start()
	g.stage("v2", newNode)
	g.plan(`{"name":"v2","height":15}`)
	e := g.becomes("v2", Done)
	g.runs("2.0.0")
	if e.Switch.Head < 15 || e.Switch.Head > 20 {
		t.Errorf("want the first head from 15 on, have %d", e.Switch.Head)
	}
	if e.SHA256 == "" || e.Version != "2.0.0" || e.Switch.Previous != "genesis" || !e.Switch.Clean || e.Switch.Snapshot == "" {
		t.Errorf("have %+v, %+v", e, e.Switch)
	}
	var stages []string
	for _, s := range e.Steps {
		stages = append(stages, string(s.Stage))
	}
	if have, want := strings.Join(stages, " "), "scheduled preparing prepared switching confirming done"; have != want {
		t.Errorf("want %s, have %s", want, have)
	}
	if have := g.home.Current(); have != "v2" {
		t.Errorf("current is %s", have)
	}
	if have := g.starts(); have != "1.0.0 2.0.0" {
		t.Errorf("have starts %s", have)
	}
	if g.sup.Status().Restarts != 0 {
		t.Error("it was counted as a crash")
	}
	g.plan(`{"height":"15","name":"v2"}`) // it says the same
	g.plan(`{"name":"v3","height":16`)
	if have := g.read("data/geth/chaindata/log"); have != "stopped 1.0.0\n" {
		t.Errorf("the old node was not stopped once: %q", have)
	}
}

// A new binary that dies goes back once, with its own last words as the reason.
func TestNewBinaryThatDies(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		edit      func(*Config)
		end       Stage
		dataBack  bool
		last      string // version that runs in the end
		whyAlso   string
		retryWith string
	}{
		{"auto", func(*Config) {}, RolledBack, true, "1.0.0", "data is back", newNode},
		{"validator", func(c *Config) { c.ValidatorMode = true }, RolledBack, false, "1.0.0", "", ""},
		{"binary", func(c *Config) { c.Rollback = RollbackBinary }, RolledBack, false, "1.0.0", "", ""},
		{"without a snapshot", func(c *Config) { c.SkipBackup = true }, RolledBack, false, "1.0.0", "", ""},
		{"never", func(c *Config) { c.Rollback = RollbackNever }, Failed, false, "", "never", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) { tc.edit(c) }).start()
			g.runs("1.0.0")
			key := g.read("data/geth/nodekey")
			g.stage("v2", badNode)
			g.plan(`{"name":"v2"}`)
			e := g.becomes("v2", RolledBack, Failed)
			if e.Stage != tc.end || !strings.Contains(e.Reason, "exit status 1: Fatal: could not open database") || !strings.Contains(e.Reason, tc.whyAlso) {
				t.Fatalf("have %s: %s", e.Stage, e.Reason)
			}
			if tc.last == "" {
				if g.home.Current() != "v2" {
					t.Errorf("current is %s", g.home.Current())
				}
				return
			}
			g.runs(tc.last)
			if back := g.read("data/geth/chaindata/spoilt") == ""; back != tc.dataBack {
				t.Errorf("data back is %v", back)
			}
			if g.home.Current() != "genesis" || g.read("data/geth/nodekey") != key || g.starts() != "1.0.0 2.0.0 1.0.0" {
				t.Errorf("current %s, key %q, starts %s", g.home.Current(), g.read("data/geth/nodekey"), g.starts())
			}
			g.plan(` {"name":"v2"}`)    // not even when its file is written anew
			if tc.name == "validator" { // its data waits to be told
				g.must(g.Rollback(context.Background(), true))
				g.runs("1.0.0")
				if e, _ := g.Entry("v2"); g.read("data/geth/chaindata/spoilt") != "" || !strings.Contains(e.Reason, "data is back") || e.Stage != RolledBack {
					t.Errorf("have %s: %s", e.Stage, e.Reason)
				}
				if err := g.Rollback(context.Background(), true); !errors.Is(err, ErrRefused) {
					t.Errorf("have %v", err)
				}
			}
			if tc.retryWith == "" {
				return
			}
			g.stage("v2", tc.retryWith)
			g.must(g.Retry("v2"))
			g.becomes("v2", Done)
			g.runs("2.0.0")
			if have := g.starts(); have != "1.0.0 2.0.0 1.0.0 2.0.0" {
				t.Errorf("have %s", have)
			}
		})
	}
}

func TestNewBinaryThatIsNoProgram(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, script, why string }{
		{"not an ELF", "garbage", "neither an ELF program nor a script"},
		{"empty", "", "empty"},
		{"no loader", "#!/no/such/loader\n", "loader /no/such/loader is missing"},
		{"version fails", "#!/bin/sh\nexit 3", "exit status 3"},
		{"version hangs", "#!/bin/sh\nsleep 1000", "hangs"},
		{"missing", "-", "not found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) { c.VersionTimeout = time.Second }).start()
			if tc.script != "-" {
				g.stage("v2", tc.script)
			}
			g.plan(`{"name":"v2"}`)
			e := g.becomes("v2", NotReady)
			if !strings.Contains(e.Reason, tc.why) {
				t.Errorf("want %q, have %q", tc.why, e.Reason)
			}
			g.runs("1.0.0")
			eventually(t, "an alarm that it is late", func() bool {
				for _, a := range g.Alarms() {
					if a.Key == "upgrade_late/v2" && a.Critical {
						return true
					}
				}
				return false
			}, nil)
			checks, err := g.Preflight(context.Background(), "v2")
			g.must(err)
			red := ""
			for _, c := range checks {
				if !c.OK {
					red += c.Detail
				}
			}
			if !strings.Contains(red, tc.why) {
				t.Errorf("check says %+v", checks)
			}
			g.stage("v2", newNode) // the old node ran on meanwhile
			g.becomes("v2", Done)
			if have := g.starts(); have != "1.0.0 2.0.0" {
				t.Errorf("have starts %s", have)
			}
		})
	}
}

// What answers is not taken back; what never does, is.
func TestTrial(t *testing.T) {
	t.Parallel()
	still := nodeScript("2.0.0", `echo "$$ 3" > rpc; while [ ! -e go ]; do sleep 0.02 9>&-; done`, "")
	mute := nodeScript("2.0.0", `while :; do sleep 0.02 9>&-; done`, "")
	late := nodeScript("2.0.0", ``, `n=$((n+1)); [ $n -gt 8 ] && { echo "panic: too bad"; exit 7; }`)
	t.Run("never answers", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) { c.ConfirmTimeout = time.Second }).start()
		g.stage("v2", mute)
		g.plan(`{"name":"v2"}`)
		if e := g.becomes("v2", RolledBack); !strings.Contains(e.Reason, "never answered within 1s") {
			t.Errorf("have %s", e.Reason)
		}
		g.runs("1.0.0")
	})
	t.Run("crashes before its time is over", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) { c.ConfirmTime = time.Hour }).start()
		g.stage("v2", late)
		g.plan(`{"name":"v2"}`)
		if e := g.becomes("v2", RolledBack); !strings.Contains(e.Reason, "exit status 7: panic: too bad") {
			t.Errorf("have %s", e.Reason)
		}
		g.runs("1.0.0")
	})
	t.Run("stands still, then moves", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) { c.ConfirmTimeout = time.Second }).start()
		g.stage("v2", still)
		g.plan(`{"name":"v2","height":5}`)
		e := g.becomes("v2", Unconfirmed)
		if !strings.Contains(e.Reason, "stays at 3") || g.home.Current() != "v2" {
			t.Errorf("have %s", e.Reason)
		}
		eventually(t, "the change ends", func() bool { st := g.sup.Status(); return st.State == supervisor.Running && st.Change == nil }, nil)
		write(t, filepath.Join(g.root, "go"), "")
		g.becomes("v2", Done)
	})
	t.Run("stands still, and that is fine", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) { c.ConfirmTimeout = time.Second }).start()
		g.stage("v2", still)
		g.plan(`{"name":"v2","height":5}`)
		g.becomes("v2", Unconfirmed)
		g.must(g.Confirm("v2"))
		g.becomes("v2", Done)
		if err := g.Confirm("v2"); !errors.Is(err, ErrRefused) {
			t.Errorf("have %v", err)
		}
	})
	t.Run("taken back by request", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) { c.ConfirmTime = time.Hour; c.ValidatorMode = true }).start()
		g.stage("v2", newNode)
		g.plan(`{"name":"v2"}`)
		g.becomes("v2", Confirming)
		g.runs("2.0.0")
		g.must(g.Rollback(context.Background(), true))
		if e := g.becomes("v2", RolledBack); !strings.Contains(e.Reason, "data is back") {
			t.Errorf("have %s", e.Reason)
		}
		g.runs("1.0.0")
	})
	t.Run("confirmed by request", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) { c.ConfirmTime = time.Hour }).start()
		g.stage("v2", newNode)
		g.plan(`{"name":"v2"}`)
		g.becomes("v2", Confirming)
		eventually(t, "confirmed", func() bool { return g.Confirm("v2") == nil }, nil)
		g.becomes("v2", Done)
	})
}

// A node that exits by itself when a plan is due asks for its upgrade.
func TestNodeThatExitsAtItsHeight(t *testing.T) {
	t.Parallel()
	for _, code := range []int{0, 1, 137} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			script := nodeScript("1.0.0", "", fmt.Sprintf(`[ $h -ge 15 ] && { echo "UPGRADE v2 NEEDED"; exit %d; }`, code))
			g := newRig(t, script, nil).start()
			g.stage("v2", newNode)
			g.plan(`{"name":"v2","height":16}`) // it stops before the block is made
			e := g.becomes("v2", Done)
			if e.Switch.Clean != (code == 0) {
				t.Errorf("clean is %v", e.Switch.Clean)
			}
			if st := g.sup.Status(); st.Restarts != 0 || g.starts() != "1.0.0 2.0.0" {
				t.Errorf("%d restarts, starts %s", st.Restarts, g.starts())
			}
		})
	}
	t.Run("far below it, that is a crash", func(t *testing.T) {
		t.Parallel()
		script := nodeScript("1.0.0", `echo "$$ $h" > rpc`, `[ $h = 5 ] && exit 1`)
		g := newRig(t, script, nil).start()
		g.stage("v2", newNode)
		g.plan(`{"name":"v2","height":100}`)
		eventually(t, "a restart", func() bool { return g.sup.Status().Restarts > 0 }, nil)
		if e := g.becomes("v2", Prepared); e.Switch != nil {
			t.Error("it was begun")
		}
	})
}

// A stop that needed SIGKILL leaves data that is not clean: nobody upgrades that
// without being told to.
func TestStopThatNeedsKill(t *testing.T) {
	t.Parallel()
	stubborn := strings.Replace(oldNode, `exit 0' TERM`, `[ -e kind ] && exit 0' TERM`, 1)
	g := newRig(t, stubborn, func(_ *Config, s *supervisor.Config) { s.Grace = 300 * time.Millisecond }).start()
	g.stage("v2", newNode)
	g.plan(`{"name":"v2","height":3}`)
	eventually(t, "it is held", func() bool { e, err := g.Entry("v2"); return err == nil && e.Held }, nil)
	e, _ := g.Entry("v2")
	if e.Stage != Waiting || !strings.Contains(e.Reason, "SIGKILL") || !strings.Contains(e.Reason, "retry v2") {
		t.Errorf("have %s: %s", e.Stage, e.Reason)
	}
	g.runs("1.0.0")
	if g.home.Current() != "genesis" || g.starts() != "1.0.0 1.0.0" {
		t.Errorf("current %s, starts %s", g.home.Current(), g.starts())
	}
	write(t, filepath.Join(g.root, "kind"), "")
	g.must(g.Retry("v2"))
	g.becomes("v2", Done)
}

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
				if err := sleep(ctx, time.Millisecond); err != nil {
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

// A node that an operator has stopped stays down.
func TestNodeThatIsHeldIsNotStarted(t *testing.T) {
	t.Parallel()
	g := newRig(t, oldNode, nil).start()
	g.runs("1.0.0")
	g.must(g.sup.Stop(context.Background()))
	g.stage("v2", newNode)
	g.plan(`{"name":"v2"}`)
	eventually(t, "it waits", func() bool {
		e, _ := g.Entry("v2")
		return e.Stage == Waiting && strings.Contains(e.Reason, "held down")
	}, nil)
	g.must(g.sup.Start(context.Background(), nil))
	g.becomes("v2", Done)
}

func TestLeaveAfterUpgrade(t *testing.T) {
	t.Parallel()
	leave := func(c *Config, _ *supervisor.Config) { c.LeaveAfter = true }
	g := newRig(t, oldNode, leave).start()
	g.stage("v2", newNode)
	g.plan(`{"name":"v2"}`)
	err := <-g.ended
	g.ended <- err
	if !errors.Is(err, supervisor.ErrLeave) || g.starts() != "1.0.0" || g.home.Current() != "v2" {
		t.Fatalf("have %v, starts %s", err, g.starts())
	}
	again := rigAt(t, g.root, leave).start()
	again.becomes("v2", Done)
	if have := again.starts(); have != "1.0.0 2.0.0" {
		t.Errorf("have %s", have)
	}
}

func TestManualRollback(t *testing.T) {
	t.Parallel()
	for _, data := range []bool{false, true} {
		t.Run(fmt.Sprintf("data %v", data), func(t *testing.T) {
			t.Parallel()
			g := newRig(t, oldNode, nil).start()
			g.runs("1.0.0")
			if err := g.Rollback(context.Background(), data); !errors.Is(err, ErrRefused) {
				t.Errorf("genesis: have %v", err)
			}
			g.stage("v2", nodeScript("2.0.0", "echo x > data/geth/chaindata/new", ""))
			g.plan(`{"name":"v2"}`)
			g.becomes("v2", Done)
			g.must(g.Rollback(context.Background(), data))
			g.runs("1.0.0")
			e, _ := g.Entry("v2")
			if e.Stage != RolledBack || g.home.Current() != "genesis" || g.sup.Status().Held {
				t.Errorf("have %s, %s", e.Stage, g.home.Current())
			}
			if gone := g.read("data/geth/chaindata/new") == ""; gone != data {
				t.Errorf("data back is %v", gone)
			}
		})
	}
}

func TestOldBinaryThatCannotStartAgain(t *testing.T) {
	t.Parallel()
	g := newRig(t, oldNode, nil).start()
	g.runs("1.0.0")
	g.stage("v2", nodeScript("2.0.0", `rm wemixvisor/genesis/bin/wemixd; exit 1`, ""))
	g.plan(`{"name":"v2"}`)
	g.becomes("v2", RolledBack)
	eventually(t, "held down", func() bool { st := g.sup.Status(); return st.Held && st.Change == nil }, nil)
	eventually(t, "alarm", func() bool {
		for _, a := range g.Alarms() {
			if a.Key == "node_held" && a.Critical {
				return true
			}
		}
		return false
	}, nil)
}

// Past a fork that only the new binary knows, the old one must not run.
func TestRollbackPastAFork(t *testing.T) {
	t.Parallel()
	var g *rig
	g = newRig(t, oldNode, func(c *Config, _ *supervisor.Config) {
		c.ConfirmTime = time.Hour
		c.Forks = func(context.Context) ([]Fork, error) {
			forks := []Fork{{Name: "london", Height: 1}}
			if strings.HasSuffix(strings.TrimSpace(g.read("starts")), "2.0.0") {
				forks = append(forks, Fork{Name: "croissant", Height: 2})
			}
			return forks, nil
		}
	}).start()
	g.stage("v2", nodeScript("2.0.0", "", `n=$((n+1)); [ $n -gt 20 ] && exit 1`))
	g.head(5)
	g.plan(`{"name":"v2"}`)
	g.becomes("v2", RolledBack)
	eventually(t, "held down", func() bool { return g.sup.Status().Held && g.sup.Status().Change == nil }, nil)
	if why := g.sup.Status().Reason; !strings.Contains(why, "croissant") {
		t.Errorf("have %s", why)
	}
}

func TestArchives(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		when string
		err  error
		want Stage
	}{
		{ArchiveAfter, nil, Done},
		{ArchiveAfter, errors.New("no room"), Done},
		{ArchiveBefore, nil, Done},
		{ArchiveBefore, errors.New("no room"), Failed},
	} {
		t.Run(fmt.Sprintf("%s %v", tc.when, tc.err), func(t *testing.T) {
			t.Parallel()
			made := make(chan backup.Snapshot, 10)
			g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) {
				c.RequireArchive = tc.when
				c.SnapshotKeep = time.Millisecond
				c.Archive = func(_ context.Context, s backup.Snapshot) (string, error) {
					made <- s
					return "archive", tc.err
				}
			}).start()
			g.stage("v2", newNode)
			g.plan(`{"name":"v2","height":4}`)
			g.becomes("v2", tc.want)
			s := <-made
			if s.Reason != "upgrade v2" || !s.Origin.CleanShutdown || s.Origin.Upgrade != "genesis" || s.Origin.Binary == "" || s.Origin.Height < 4 {
				t.Errorf("have %+v", s)
			}
			if tc.want == Failed {
				g.runs("1.0.0")
				return
			}
			eventually(t, "the snapshot goes", func() bool { e, _ := g.Entry("v2"); return e.Switch.Snapshot == "" }, nil)
			e, _ := g.Entry("v2")
			if (e.Switch.Archive == "archive") != (tc.err == nil) {
				t.Errorf("have %+v", e.Switch)
			}
			if err := g.Rollback(context.Background(), true); !errors.Is(err, backup.ErrNotFound) {
				t.Errorf("have %v", err)
			} else if tc.err == nil && !strings.Contains(err.Error(), "archive") {
				t.Errorf("the archive is not named: %v", err)
			}
		})
	}
}

func TestFetchedBinary(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "node")
	put(t, file, newNode)
	sum, err := hashFile(context.Background(), file)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		allow bool
		sum   string
		want  Stage
		fault string
		why   string
	}{
		{"fetched", true, "sha256:" + sum, Done, "", ""},
		{"wrong checksum", true, sumA, NotReady, FaultChecksum, "checksum"},
		{"not allowed", false, "sha256:" + sum, NotReady, "", "allow-download-binaries"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) { c.AllowDownload = tc.allow }).start()
			g.plan(`{"name":"v2","info":{"binaries":{"any":"file://` + file + `"},"checksums":{"any":"` + tc.sum + `"}}}`)
			e := g.becomes("v2", tc.want)
			if e.Fault != tc.fault || !strings.Contains(e.Reason, tc.why) {
				t.Errorf("have %q: %s", e.Fault, e.Reason)
			}
			if _, err := os.Stat(filepath.Join(g.home.Dir(), "upgrades", "v2")); (err == nil) != (tc.want == Done) {
				t.Errorf("its folder: %v", err)
			}
		})
	}
	t.Run("staged with another checksum", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, oldNode, nil).start()
		g.must(g.Schedule(Plan{Name: "v2", Info: Info{Checksums: map[string]string{"any": sumA}}}, file, false))
		e, err := g.Await(context.Background(), "v2")
		g.must(err)
		if e.Stage != NotReady || e.Fault != FaultChecksum {
			t.Errorf("have %s, %s: %s", e.Stage, e.Fault, e.Reason)
		}
	})
}

func TestStageReplacesOnlyTheBinary(t *testing.T) {
	t.Parallel()
	h := lay(t, t.TempDir(), oldNode)
	file := filepath.Join(t.TempDir(), "node")
	for _, script := range []string{newNode, badNode} {
		put(t, file, script)
		if err := h.Stage(file, "v2"); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(h.Dir(), "upgrades/v2/pre-upgrade"), "#!/bin/sh")
	}
	if b, _ := os.ReadFile(h.binary("upgrades/v2")); string(b) != badNode {
		t.Error("it was not replaced")
	}
	if _, err := os.Stat(filepath.Join(h.Dir(), "upgrades/v2/pre-upgrade")); err != nil {
		t.Error(err)
	}
	if err := h.Switch("upgrades/v2"); err != nil {
		t.Fatal(err)
	}
	if err := h.Stage(file, "v2"); err == nil {
		t.Error("want the one in use left alone")
	}
	if err := h.Stage(file+"x", "v3"); !errors.Is(err, reaper.ErrNotFound) {
		t.Errorf("have %v", err)
	}
}
