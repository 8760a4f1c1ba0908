package upgrade

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/backup"
	supervisor "github.com/wemix/wemixvisor/init"
)

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
		asked := 0
		c.Forks = func() ([]Fork, bool) {
			forks := []Fork{{Name: "london", Height: 1}}
			if strings.HasSuffix(strings.TrimSpace(g.read("starts")), "2.0.0") {
				if asked++; asked < 3 { // a node tells them later than its head
					return nil, false
				}
				forks = append(forks, Fork{Name: "croissant", Height: 2})
			}
			return forks, true
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
