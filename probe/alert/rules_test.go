package alert

import (
	"strings"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/chain"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

// well is a node that nothing is wrong with.
func well() Scene {
	return Scene{
		Now:  noon,
		Node: probe.Node{State: "running", PID: 42, Started: ago(time.Hour)},
		Facts: chain.Facts{
			Head: chain.Head{Number: 100, Hash: "0x1", Time: ago(time.Second), Seen: ago(time.Second)}, HeadKnown: true,
			Peers: 5, PeersKnown: true, Highest: 100,
		},
		Resources: probe.Resources{Disks: []probe.Disk{{Path: "/data", Size: 100 << 30, Free: 60 << 30, Inodes: 1000, InodesFree: 900}}},
	}
}

func TestNodeRules(t *testing.T) {
	t.Parallel()
	rules := NodeRules(Limits{
		For: time.Minute, HeadAge: 5 * time.Minute, Lag: 100, Peers: 3, Free: 10, FullWithin: 6 * time.Hour,
		Restarts: 5, RestartWindow: 10 * time.Minute,
	})
	spent := func(n int) (at []time.Time) {
		for i := range n {
			at = append(at, ago(time.Duration(n-i)*time.Minute))
		}
		return at
	}
	for _, tc := range []struct {
		name string
		set  func(*Scene)
		want map[string]string // rule to how its answer begins
	}{
		{"all is well", func(*Scene) {}, nil},
		{"nothing is known yet", func(s *Scene) { *s = Scene{Now: noon} }, map[string]string{"lagging": Unknown, "few_peers": Unknown}},
		{"stopped on purpose", func(s *Scene) {
			s.Node = probe.Node{State: "stopped", Held: true, Reason: "stopped by request"}
		}, nil},
		{"could not be started", func(s *Scene) {
			s.Node = probe.Node{State: "stopped", Held: true, Stuck: true, Reason: "exec format error"}
		}, map[string]string{"node_down": "node is stopped: exec format error"}},
		{"waits for its restart", func(s *Scene) {
			s.Node.State, s.Node.Reason, s.Node.Spent = "backoff", "exit status 1", spent(1)
		}, map[string]string{"node_down": "node is backoff: exit status 1"}},
		{"stopping", func(s *Scene) { s.Node.State = "stopping" }, map[string]string{"node_down": Unknown}},
		{"down for an upgrade", func(s *Scene) { s.Node = probe.Node{State: "stopped", Held: true, Change: "upgrade"} }, map[string]string{"node_down": Unknown}},
		{"one restart left", func(s *Scene) { s.Node.Spent, s.Node.Reason = spent(4), "exit status 1" }, map[string]string{"restart_budget": "4 of 5 restarts within 10m0s are spent: exit status 1"}},
		{"one restart left, running again", func(s *Scene) { s.Node.Spent = spent(4) }, map[string]string{"restart_budget": "4 of 5 restarts within 10m0s are spent"}},
		{"two restarts left", func(s *Scene) { s.Node.Spent = spent(3) }, nil},
		{"four restarts, of long ago", func(s *Scene) { s.Node.Spent = spent(4); s.Now = noon.Add(9 * time.Minute); s.Facts.Head.Seen = s.Now }, nil},
		{"failed for good", func(s *Scene) {
			s.Node = probe.Node{State: "failed", Failed: true, Reason: "exit status 3"}
		}, map[string]string{"node_down": "node is failed", "crash_loop": "node keeps failing and is not restarted any more: exit status 3"}},
		{"halted chain", func(s *Scene) { s.Facts.Head.Seen = ago(6 * time.Minute) }, map[string]string{"no_new_head": "no new block for more than 5m0s; the last one is 100"}},
		{"the last node process saw the head long ago", func(s *Scene) {
			s.Facts.Head.Seen, s.Node.Started = ago(6*time.Hour), ago(time.Minute)
		}, nil},
		{"never saw a head", func(s *Scene) { s.Facts = chain.Facts{} }, map[string]string{"no_new_head": "no block seen for 5m0s", "lagging": Unknown, "few_peers": Unknown}},
		{"importing old blocks", func(s *Scene) { s.Facts.Head.Time = ago(24 * time.Hour) }, nil},
		{"behind", func(s *Scene) { s.Facts.Highest = 201 }, map[string]string{"lagging": "node is more than 100 blocks behind"}},
		{"behind within the limit", func(s *Scene) { s.Facts.Highest = 200 }, nil},
		{"short of peers", func(s *Scene) { s.Facts.Peers = 2 }, map[string]string{"few_peers": "node has 2 of at least 3 peers"}},
		{"disk nearly full", func(s *Scene) { s.Resources.Disks[0].Free = 9 << 30 }, map[string]string{"disk_low": "/data: 9.0 GiB of 100.0 GiB free"}},
		{"a small share of a large disk is plenty", func(s *Scene) {
			s.Resources.Disks[0].Size, s.Resources.Disks[0].Free = 8<<40, 30<<30
		}, nil},
		{"inodes nearly used up", func(s *Scene) { s.Resources.Disks[0].InodesFree = 99 }, map[string]string{"disk_low": "/data: 99 of 1000 inodes free"}},
		{"the second disk", func(s *Scene) {
			s.Resources.Disks = append(s.Resources.Disks, probe.Disk{Path: "/backups", Size: 100, Free: 1})
		}, map[string]string{"disk_low": "/backups: 1 B of 100 B free"}},
		{"a disk that can't be read", func(s *Scene) { s.Resources.Disks[0] = probe.Disk{Path: "/data", Err: "gone"} }, map[string]string{"disk_low": Unknown}},
		{"full in five hours", func(s *Scene) {
			s.Resources.Disks[0].Free, s.Resources.Disks[0].FullIn = 40<<30, 5*time.Hour
		}, map[string]string{"disk_filling": "/data: 40.0 GiB of 100.0 GiB free, full in 5h0m0s at the present rate"}},
		{"full in five hours, but more than half empty", func(s *Scene) { s.Resources.Disks[0].FullIn = 5 * time.Hour }, nil},
		{"another chain", func(s *Scene) { s.Alarm = "chain id 2 was 1" }, map[string]string{"chain_changed": "chain id 2 was 1"}},

		// What fires is left with a margin, and not for want of knowledge.
		{"firing: behind by nine tenths", func(s *Scene) { s.Firing, s.Facts.Highest = true, 190 }, map[string]string{"lagging": "node is more than"}},
		{"firing: behind by less than four fifths", func(s *Scene) { s.Firing, s.Facts.Highest = true, 180 }, nil},
		{"firing: a little room", func(s *Scene) { s.Firing, s.Resources.Disks[0].Free = true, 11<<30 }, map[string]string{"disk_low": "/data: 11.0 GiB"}},
		{"firing: room", func(s *Scene) { s.Firing, s.Resources.Disks[0].Free = true, 12<<30 }, nil},
		{"firing: halted, node restarted", func(s *Scene) {
			s.Firing, s.Node.Started, s.Facts.Head.Seen = true, ago(time.Second), ago(time.Hour)
		}, map[string]string{"no_new_head": "no new block"}},
		{"firing: halted, node not asked yet", func(s *Scene) {
			s.Firing, s.Facts.HeadKnown, s.Facts.PeersKnown = true, false, false
		}, map[string]string{"no_new_head": Unknown, "lagging": Unknown, "few_peers": Unknown}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := well()
			tc.set(&s)
			for _, r := range rules {
				have, want := r.Check(s), tc.want[r.Name]
				if want == "" && have != "" || !strings.HasPrefix(have, want) {
					t.Errorf("%s: want %q, have %q", r.Name, want, have)
				}
			}
		})
	}
}

func TestLimitsOfZeroDoNotLook(t *testing.T) {
	t.Parallel()
	s := well()
	s.Facts = chain.Facts{HeadKnown: true, Highest: 1 << 40, PeersKnown: true}
	s.Resources.Disks[0].Free, s.Resources.Disks[0].InodesFree, s.Resources.Disks[0].FullIn = 0, 0, time.Second
	for _, r := range NodeRules(Limits{}) {
		if have := r.Check(s); have != "" {
			t.Errorf("%s: want nothing, have %q", r.Name, have)
		}
	}
}
