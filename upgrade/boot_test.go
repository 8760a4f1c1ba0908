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

// After a clean stop a plan that is due comes before the first start.
func TestPlanThatIsDueAtTheStart(t *testing.T) {
	t.Parallel()
	g := newRig(t, oldNode, nil).start()
	g.runs("1.0.0")
	eventually(t, "custody", func() bool { return g.journal.read().Custody != "" }, nil)
	g.head(2)
	g.must(g.stop())
	g.stage("v2", newNode)
	g.plan(`{"name":"v2","height":2}`)
	again := rigAt(t, g.root, nil).start()
	e := again.becomes("v2", Done)
	if have := again.starts(); have != "1.0.0 2.0.0" || !e.Switch.Clean || e.Switch.Snapshot == "" {
		t.Errorf("starts %s, %+v", have, e.Switch)
	}
}

// After one that was not clean the old binary starts first, and answers.
func TestPlanThatIsDueAfterACrash(t *testing.T) {
	t.Parallel()
	g := newRig(t, oldNode, nil).start()
	g.runs("1.0.0")
	g.must(g.stop())
	g.must(g.journal.update(func(s *state) { s.Node.Clean = false })) // as kill -9 leaves it
	g.stage("v2", newNode)
	g.plan(`{"name":"v2","height":2}`)
	again := rigAt(t, g.root, nil).start()
	e := again.becomes("v2", Done)
	if have := again.starts(); have != "1.0.0 1.0.0 2.0.0" || !e.Switch.Clean {
		t.Errorf("starts %s, %+v", have, e.Switch)
	}
}

func TestTrialGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	long := func(c *Config, _ *supervisor.Config) { c.ConfirmTime = time.Hour }
	g := newRig(t, oldNode, long).start()
	g.stage("v2", newNode)
	g.plan(`{"name":"v2"}`)
	g.becomes("v2", Confirming)
	g.runs("2.0.0")
	g.must(g.stop())
	for range 3 { // orderly ends don't count
		g = rigAt(t, g.root, long).start()
		g.becomes("v2", Confirming)
		g.runs("2.0.0")
		g.must(g.stop())
	}
	if e, _ := g.Entry("v2"); e.Switch.Starts != 1 || !e.Switch.Orderly {
		t.Errorf("have %+v", e.Switch)
	}
	for range 1 { // others do
		g.must(g.journal.update(func(s *state) { s.record("v2").Switch.Orderly = false }))
		g = rigAt(t, g.root, long).start()
		g.becomes("v2", Confirming)
		g.runs("2.0.0")
		g.must(g.stop())
	}
	g.must(g.journal.update(func(s *state) { s.record("v2").Switch.Orderly = false }))
	g = rigAt(t, g.root, long).start()
	if e := g.becomes("v2", RolledBack); !strings.Contains(e.Reason, "started 2 times") {
		t.Errorf("have %s", e.Reason)
	}
	g.runs("1.0.0")
}

func TestJournalThatIsLost(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		lose func(*rig)
	}{
		{"missing", func(g *rig) { g.must(os.Remove(g.home.journal())) }},
		{"corrupt", func(g *rig) { write(g.t, g.home.journal(), `{"schema":1,"pl`) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, oldNode, nil).start()
			g.stage("v2", newNode)
			g.plan(`{"name":"v2","height":2}`)
			g.becomes("v2", Done)
			g.head(4)
			g.must(g.stop())
			tc.lose(g)
			g.stage("v1", nodeScript("1.5.0", "", ""))
			write(t, filepath.Join(g.root, "data/upgrades/3/upgrade-info.json"), `{"name":"v1"}`)
			write(t, filepath.Join(g.root, "data/upgrades/1000000/upgrade-info.json"), `{"name":"v3"}`)
			g.stage("v3", newNode)
			again := rigAt(t, g.root, nil).start()
			again.runs("2.0.0")
			again.becomes("v3", Prepared) // its height is still to come
			e, err := again.Entry("v1")
			if err != nil || !e.Held || e.Stage != Scheduled {
				t.Errorf("have %+v, %v", e, err)
			}
			if e, _ := again.Entry("v2"); e.Stage != Done {
				t.Errorf("have %s", e.Stage)
			}
			if again.home.Current() != "v2" {
				t.Errorf("current %s", again.home.Current())
			}
			if len(again.Alarms()) == 0 || again.Alarms()[0].Key != "journal_lost" {
				t.Errorf("have %+v", again.Alarms())
			}
			again.must(again.Retry("v1"))
			again.becomes("v1", Done)
		})
	}
}

func TestJournalOfANewerVersion(t *testing.T) {
	t.Parallel()
	g := newRig(t, oldNode, nil)
	write(t, g.home.journal(), `{"schema":99,"writer":"v7.0.0"}`)
	if err := g.run(context.Background()); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "v7.0.0") {
		t.Errorf("have %v", err)
	}
	if g.starts() != "" {
		t.Error("the node was started")
	}
}

func TestImage(t *testing.T) {
	t.Parallel()
	bundle := func(g *rig, script string, policy string) *rig {
		file := filepath.Join(g.root, "bundled", "wemixd")
		put(g.t, file, script)
		return rigAt(g.t, g.root, func(c *Config, _ *supervisor.Config) {
			c.Bundled, c.ImagePolicy = file, policy
		}).start()
	}
	for _, tc := range []struct {
		name   string
		script string
		policy string
		starts string
		why    string // in an alarm
	}{
		{"newer", newNode, ImageAdopt, "1.0.0 2.0.0", ""},
		{"older", nodeScript("0.9.0", "", ""), ImageAdopt, "1.0.0 1.0.0", "older"},
		{"the same release", strings.Replace(oldNode, "#!/bin/sh", "#!/bin/sh\n#", 1), ImageAdopt, "1.0.0 1.0.0", "another build"},
		{"the same file", oldNode, ImageAdopt, "1.0.0 1.0.0", ""},
		{"not comparable", nodeScript("unknown", "", ""), ImageAdopt, "1.0.0 unknown", ""},
		{"broken", "#!/bin/sh\nexit 9", ImageAdopt, "1.0.0 1.0.0", "exit status 9"},
		{"seed", newNode, ImageSeed, "1.0.0 1.0.0", "image-policy is seed"},
		{"ignore", newNode, ImageIgnore, "1.0.0 1.0.0", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, oldNode, nil).start()
			g.runs("1.0.0")
			eventually(t, "custody", func() bool { return g.journal.read().Custody != "" }, nil)
			g.must(g.stop())
			g = bundle(g, tc.script, tc.policy)
			if strings.HasSuffix(tc.starts, "1.0.0 1.0.0") {
				g.runs("1.0.0")
			} else {
				eventually(t, "adopted", func() bool { l := g.List(); return len(l) == 1 && l[0].Stage == Done }, nil)
				e := g.List()[0]
				if !strings.HasPrefix(e.Name, "image-"+e.Version+"-") || !strings.HasSuffix(e.Name, e.SHA256[:8]) || e.Switch.Snapshot == "" || e.By != ByImage {
					t.Errorf("have %+v", e)
				}
			}
			if have := g.starts(); have != tc.starts {
				t.Errorf("want %s, have %s", tc.starts, have)
			}
			alarms := g.Alarms()
			if (len(alarms) > 0) != (tc.why != "") || tc.why != "" && !strings.Contains(alarms[0].Text, tc.why) {
				t.Errorf("want %q, have %+v", tc.why, alarms)
			}
		})
	}
	t.Run("a bad one goes back, and is not tried again", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, oldNode, nil).start()
		g.runs("1.0.0")
		eventually(t, "custody", func() bool { return g.journal.read().Custody != "" }, nil)
		g.must(g.stop())
		g = bundle(g, badNode, ImageAdopt)
		eventually(t, "rolled back", func() bool { l := g.List(); return len(l) == 1 && l[0].Stage == RolledBack }, nil)
		g.runs("1.0.0")
		g.must(g.stop())
		g = bundle(g, badNode, ImageAdopt)
		g.runs("1.0.0")
		if have := g.starts(); have != "1.0.0 2.0.0 1.0.0 1.0.0" {
			t.Errorf("have %s", have)
		}
	})
	t.Run("a plan governs", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, oldNode, nil).start()
		g.runs("1.0.0")
		g.must(g.Schedule(Plan{Name: "v2.0.0", Height: 1 << 40}, "", false))
		g.becomes("v2.0.0", NotReady)
		g.must(g.stop())
		g = bundle(g, newNode, ImageAdopt)
		g.becomes("v2.0.0", Prepared)
		if len(g.List()) != 1 {
			t.Errorf("have %+v", g.List())
		}
	})
}

func TestVersions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b  string
		order int
		ok    bool
	}{
		{"1.16.9-stable", "v1.16.8-stable", 1, true},
		{"v2.0.0", "1.99.99", 1, true},
		{"1.2", "1.2.0", 0, true},
		{"1.2.0-rc1", "1.2.0-stable", -1, true},
		{"1.2.0-rc2", "1.2.0-rc10", -1, true},
		{"1.2.0-unstable-20260101", "1.2.0", -1, true},
		{"1.10.3-stable+abc", "1.10.3-stable+def", 0, true},
		{"main", "1.0.0", 0, false},
		{"7", "8", 0, false},
		{"", "1.0.0", 0, false},
	} {
		order, ok := compareVersions(tc.a, tc.b)
		back, _ := compareVersions(tc.b, tc.a)
		if order != tc.order || ok != tc.ok || back != -order {
			t.Errorf("%s, %s: have %d, %v and %d back", tc.a, tc.b, order, ok, back)
		}
	}
	for text, want := range map[string]string{
		"Geth\nVersion: 1.16.9-stable\nArchitecture: amd64\n": "1.16.9-stable",
		"reth 1.2.3\n": "1.2.3", "v3.1.0": "v3.1.0", "": "", "something else": "something else",
	} {
		if have := parseVersion(text); have != want {
			t.Errorf("%q: want %q, have %q", text, want, have)
		}
	}
	if have := imageName("1.0/beta é", strings.Repeat("ab", 32)); ValidName(have) != nil {
		t.Errorf("have %q", have)
	}
}

// What cosmovisor had applied stays applied, and what it had planned is done.
func TestPlansOfACosmovisorTree(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	theirs := filepath.Join(root, "cosmovisor")
	put(t, filepath.Join(theirs, "genesis/bin/wemixd"), nodeScript("0.1.0", "", ""))
	put(t, filepath.Join(theirs, "upgrades/v1/bin/wemixd"), oldNode)
	put(t, filepath.Join(theirs, "upgrades/v2/bin/wemixd"), newNode)
	if err := os.Symlink(filepath.Join(theirs, "upgrades/v1"), filepath.Join(theirs, "current")); err != nil {
		t.Fatal(err)
	}
	if err := (Home{Root: root, Name: "wemixd"}).Import(theirs); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "data/upgrade-info.json"), `{"name":"v1","time":"0001-01-01T00:00:00Z","height":2,"info":""}`)
	g := rigAt(t, root, nil).start()
	g.runs("1.0.0")
	g.plan(`{"name":"v2","time":"0001-01-01T00:00:00Z","height":6,"info":""}`)
	g.becomes("v2", Done)
	if have := g.starts(); have != "1.0.0 2.0.0" {
		t.Errorf("have %s", have)
	}
}

// A node that was held down at the first start, and is started by somebody later,
// is still on trial.
func TestTrialIsTakenUpAfterALateStart(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	h := lay(t, root, oldNode)
	put(t, h.binary("upgrades/v2"), newNode)
	g := rigAt(t, root, func(c *Config, s *supervisor.Config) { c.ConfirmTime = time.Hour })
	g.start()
	g.plan(`{"name":"v2","height":1}`)
	g.becomes("v2", Confirming)
	g.stop()

	hold := errors.New("half swapped")
	g = rigAt(t, root, func(c *Config, s *supervisor.Config) {
		s.Next = func(_ context.Context, end *supervisor.Ended) *supervisor.Change { // as for data that is half swapped
			if end != nil {
				return nil
			}
			return &supervisor.Change{
				Apply:  func(context.Context) error { return hold },
				Revert: func(context.Context, error) error { return fmt.Errorf("%w: %w", supervisor.ErrHold, hold) },
			}
		}
	})
	g.start()
	eventually(t, "held down", func() bool {
		st := g.sup.Status()
		return st.State == supervisor.Stopped && st.Held && st.Change == nil
	}, nil)
	g.must(g.sup.Start(t.Context(), nil))
	if e := g.becomes("v2", Done); e.Switch.Starts != 1 { // an orderly end came before
		t.Errorf("want the start counted once, have %+v", e.Switch)
	}
	if h.Current() != "v2" {
		t.Errorf("current is %s", h.Current())
	}
}
