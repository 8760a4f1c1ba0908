package upgrade

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	supervisor "github.com/wemix/wemixvisor/init"
)

// small mounts a file system of so much, as mount(8) writes it.
func small(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	return root
}

// fill takes all the room there is, and returns the file that has it.
func (g *rig) fill() string {
	g.t.Helper()
	f, err := os.Create(filepath.Join(g.root, "fill"))
	g.must(err)
	defer f.Close()
	for err == nil {
		_, err = io.WriteString(f, strings.Repeat("x", 4096))
	}
	return f.Name()
}

// A disk that fills up while a plan waits costs no stop: the old binary runs on,
// and the plan is taken up when there is room.
func TestDiskThatIsFullBeforeTheSwitch(t *testing.T) {
	t.Parallel()
	root := small(t, "16m")
	lay(t, root, oldNode)
	open := make(chan struct{})
	g := rigAt(t, root, func(c *Config, _ *supervisor.Config) {
		c.Gate = func(ctx context.Context) error {
			select {
			case <-open:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}).start()
	g.runs("1.0.0")
	g.stage("v2", newNode)
	g.must(g.Schedule(Plan{Name: "v2"}, "", false))
	g.becomes("v2", Waiting)
	filled := g.fill()
	if e := g.becomes("v2", NotReady); e.Fault != FaultNoSpace || g.starts() != "1.0.0" {
		t.Errorf("have %s, %s, starts %s", e.Fault, e.Reason, g.starts())
	}
	close(open)
	g.must(os.Remove(filled))
	g.becomes("v2", Done)
	if have := g.starts(); have != "1.0.0 2.0.0" {
		t.Errorf("have %s", have)
	}
}

// One that fills up between the stop and the snapshot has the old binary started
// again.
func TestDiskThatIsFullAtTheSnapshot(t *testing.T) {
	t.Parallel()
	root := small(t, "16m")
	lay(t, root, oldNode)
	write(t, filepath.Join(root, "data/geth/chaindata/000001.log"), strings.Repeat("x", 4<<20))
	g := rigAt(t, root, func(c *Config, _ *supervisor.Config) { c.RestartDelay = 2 * time.Second }).start()
	g.runs("1.0.0")
	g.stage("v2", newNode)
	g.must(g.Schedule(Plan{Name: "v2"}, "", false))
	eventually(t, "the node down", func() bool { return g.sup.Status().State == supervisor.Stopped }, nil)
	filled := g.fill()
	if e := g.becomes("v2", Failed); e.Fault != FaultNoSpace || g.home.Current() != "genesis" {
		t.Errorf("have %s, %s: %s", e.Stage, e.Fault, e.Reason)
	}
	g.must(os.Remove(filled))
	g.runs("1.0.0")
	g.must(g.Retry("v2"))
	g.becomes("v2", Done)
	if have := g.starts(); have != "1.0.0 1.0.0 2.0.0" {
		t.Errorf("have %s", have)
	}
}

// What fills the disk may be what fails: its data goes back all the same, and the
// old binary has its room again.
func TestDiskThatTheNewOneFills(t *testing.T) {
	t.Parallel()
	const spoil = "echo spoilt > data/geth/chaindata/head; cat /dev/zero > data/geth/chaindata/fill; "
	for _, tc := range []struct {
		name, hook, node string
		want             Stage
	}{
		{"hook", "#!/bin/sh\n" + spoil + "exit 30", newNode, Failed},
		{"binary", "", nodeScript("2.0.0", spoil+"exit 1", ""), RolledBack},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			root := small(t, "16m")
			lay(t, root, oldNode)
			g := rigAt(t, root, func(c *Config, _ *supervisor.Config) { c.Floor.Bytes = 4 << 20 }).start()
			g.stage("v2", tc.node)
			if tc.hook != "" {
				put(t, filepath.Join(g.home.Dir(), "upgrades/v2/pre-upgrade"), tc.hook)
			}
			g.head(6)
			g.must(g.Schedule(Plan{Name: "v2"}, "", false))
			if e := g.becomes("v2", tc.want); !strings.Contains(e.Reason, "data is back") {
				t.Errorf("have %s", e.Reason)
			}
			g.runs("1.0.0")
			if g.home.Current() != "genesis" || g.facts().Height < 6 {
				t.Errorf("current %s, head %d", g.home.Current(), g.facts().Height)
			}
			var st unix.Statfs_t
			g.must(unix.Statfs(root, &st))
			if free := int64(st.Bavail) * st.Bsize; free < 8<<20 {
				t.Errorf("want the room back, have %d bytes", free)
			}
		})
	}
}
