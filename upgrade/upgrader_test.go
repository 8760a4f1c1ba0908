package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	supervisor "github.com/wemix/wemixvisor/init"
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
