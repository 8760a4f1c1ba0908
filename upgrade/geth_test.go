package upgrade

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe/chain"
)

// geth returns a built node of that version, or skips.
func geth(t *testing.T, version string) string {
	t.Helper()
	file, err := filepath.Abs("../.cache/bin/geth-v" + version)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Skipf("no geth %s: make tools", version)
	}
	return file
}

// gethRig runs a real development chain of one block a second.
func gethRig(t *testing.T, old string, edit func(*Config, *supervisor.Config)) *rig {
	t.Helper()
	root := t.TempDir()
	script, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	lay(t, root, string(script))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	follower, err := chain.NewFollower(chain.Config{Address: fmt.Sprintf("127.0.0.1:%d", port), Interval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var over sync.WaitGroup
	over.Go(func() { _ = follower.Run(ctx) })
	t.Cleanup(func() { stop(); over.Wait() })
	g := rigAt(t, root, func(c *Config, s *supervisor.Config) {
		c.Facts = func() Facts {
			f := follower.Facts()
			return Facts{
				Started: f.Started, FirstAnswer: f.FirstAnswer, LastAnswer: f.LastAnswer,
				Height: f.Head.Number, Hash: f.Head.Hash, Time: f.Head.Time, Seen: f.Head.Seen,
				Known: f.Head.Known(), HeadKnown: f.HeadKnown, Highest: f.Highest,
				Client: f.Client, ChainID: f.ChainID, Genesis: f.Genesis,
			}
		}
		c.WaitHeight = func(ctx context.Context, height uint64) error {
			_, err := follower.WaitHeight(ctx, height)
			return err
		}
		c.ConfirmTimeout, c.ConfirmTime = time.Minute, time.Second
		s.Grace = time.Minute
		s.Args = []string{
			"--dev", "--dev.period", "1", "--datadir", filepath.Join(root, "data"), "--cache", "64", "--ipcdisable", "--nodiscover", "--port", "0",
			"--http", "--http.port", fmt.Sprint(port), "--authrpc.port", "0", "--verbosity", "2",
		}
		s.OnTransition = func(from, to supervisor.Status) {
			switch {
			case to.Started.IsZero() && !from.Started.IsZero():
				follower.NodeStopped()
			case !to.Started.Equal(from.Started):
				follower.NodeStarted(to.Started)
			}
		}
		if edit != nil {
			edit(c, s)
		}
	})
	return g.start()
}

func TestRealUpgrade(t *testing.T) {
	g := gethRig(t, geth(t, "1.16.8"), nil)
	g.must(g.Schedule(Plan{Name: "v1.16.9", Height: 4}, geth(t, "1.16.9"), false))
	e := g.becomes("v1.16.9", Done)
	if e.Switch.Head < 4 || e.Switch.Head > 5 || !e.Switch.Clean || !strings.HasPrefix(e.Version, "1.16.9") {
		t.Errorf("have %s, %+v", e.Version, e.Switch)
	}
	f := g.cfg.Facts()
	if f.Height <= e.Switch.Head {
		t.Errorf("head %d, was %d", f.Height, e.Switch.Head)
	}
	checks, err := g.Preflight(context.Background(), "v1.16.9")
	g.must(err)
	for _, c := range checks {
		if !c.OK && c.Name != "height" || c.Detail == "" {
			t.Errorf("have %+v", c)
		}
	}
	t.Logf("down %s: %+v", e.Switch.Downtime.Total(), e.Switch.Downtime)
}

// geth 1.17.8 cannot open a development chain of 1.16.9, which still can.
func TestRealUpgradeThatFails(t *testing.T) {
	g := gethRig(t, geth(t, "1.16.9"), nil)
	g.must(g.Schedule(Plan{Name: "v1.17.8", Height: 4}, geth(t, "1.17.8"), false))
	e := g.becomes("v1.17.8", RolledBack, Done)
	if e.Stage != RolledBack || !strings.Contains(e.Reason, "exit status 1: Fatal") || !strings.Contains(e.Reason, "data is back at height") {
		t.Fatalf("have %s: %s", e.Stage, e.Reason)
	}
	eventually(t, "the old one goes on", func() bool {
		f := g.cfg.Facts()
		return f.HeadKnown && f.Height > e.Switch.Head
	}, nil)
	if g.home.Current() != "genesis" {
		t.Errorf("current %s", g.home.Current())
	}
	t.Log(e.Reason)
}
