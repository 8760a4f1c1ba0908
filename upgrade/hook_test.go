package upgrade

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	supervisor "github.com/wemix/wemixvisor/init"
)

// spoil is what a hook does to the data before it ends.
const spoil = `echo spoilt > data/geth/chaindata/head; echo $(($(cat tries 2>/dev/null)+1)) > tries
`

func TestHooks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		script  string // of pre-upgrade; "-" is none
		retries int
		want    Stage
		why     string
		tries   string
	}{
		{"0 goes on", "exit 0", 0, Done, "", "1"},
		{"1 is no such command", "exit 1", 0, Done, "", "1"},
		{"30 aborts", "exit 30", 3, Failed, "exit status 30", "1"},
		{"31 without retries", "exit 31", 0, Failed, "after 0 retries", "1"},
		{"31 until it is spent", "exit 31", 2, Failed, "after 2 retries", "3"},
		{"31 and then 0", "[ $(cat tries) = 3 ] && exit 0; exit 31", 5, Done, "", "3"},
		{"2 aborts", "exit 2", 3, Failed, "exit status 2", "1"},
		{"77 aborts", "exit 77", 3, Failed, "exit status 77", "1"},
		{"a signal aborts", "kill -SEGV $$", 3, Failed, "SIGSEGV", "1"},
		{"the timeout aborts", "sleep 1000 & sleep 1000", 3, Failed, "still running after", "1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			// In validator mode data goes back too: nothing has run on it.
			g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) {
				c.PreupgradeMaxRetries, c.PreupgradeTimeout, c.ValidatorMode = tc.retries, time.Second, true
			})
			g.stage("v2", newNode)
			body := spoil
			if tc.want == Done {
				body = strings.Replace(spoil, "echo spoilt > data/geth/chaindata/head; ", "", 1)
			}
			put(t, filepath.Join(g.home.Dir(), "upgrades/v2/pre-upgrade"), "#!/bin/sh\n"+body+tc.script)
			g.start()
			g.plan(`{"name":"v2","height":6}`)
			e := g.becomes("v2", Done, Failed)
			if e.Stage != tc.want || !strings.Contains(e.Reason, tc.why) {
				t.Errorf("want %s, have %s: %s", tc.want, e.Stage, e.Reason)
			}
			if have := strings.TrimSpace(g.read("tries")); have != tc.tries {
				t.Errorf("want %s tries, have %s", tc.tries, have)
			}
			if tc.want == Failed {
				g.runs("1.0.0")
				if g.home.Current() != "genesis" || !strings.Contains(e.Reason, "data is back") {
					t.Errorf("current %s: %s", g.home.Current(), e.Reason)
				}
				if g.facts().Height < 6 { // it would begin anew at 1 with what the hook wrote
					t.Errorf("the data is spoilt: head %d", g.facts().Height)
				}
			}
		})
	}
}

func TestWhatAHookIsTold(t *testing.T) {
	t.Parallel()
	g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) {
		c.CustomPreupgrade, c.PreupgradeSubcommand = "custom.sh", true
	})
	g.stage("v2", strings.Replace(newNode, "\nmkdir", "\n[ \"$1\" = pre-upgrade ] && { echo \"sub $*\" >> told; exit 0; }\nmkdir", 1))
	tell := "#!/bin/sh\n" + `echo "$(basename $0) $* $UPGRADE_NAME $UPGRADE_HEIGHT $UPGRADE_INFO $DAEMON_NAME" >> told; echo "line one"; echo "line two" >&2
[ "$DAEMON_HOME/data" = "$DAEMON_DATA_DIR" ] && [ "$PWD" = "$DAEMON_HOME" ] && exit 0`
	put(t, filepath.Join(g.home.Dir(), "custom.sh"), tell)
	put(t, filepath.Join(g.home.Dir(), "upgrades/v2/pre-upgrade"), tell)
	g.start()
	g.plan(`{"name":"v2","height":3,"info":"see the forum"}`)
	g.becomes("v2", Done)
	want := "custom.sh v2 3 v2 3 see the forum wemixd\npre-upgrade v2 3 v2 3 see the forum wemixd\nsub pre-upgrade v2 3\n"
	if have := g.read("told"); have != want {
		t.Errorf("want %q, have %q", want, have)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, line := range []string{`line="line one"`, `line="line two"`} {
		if !strings.Contains(g.logs.String(), line) {
			t.Errorf("%s is not in the log", line)
		}
	}
}

// A hook that cannot be run is told of before the node is stopped.
func TestHookThatCannotRun(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		edit func(*rig)
		why  string
	}{
		{"not executable", func(g *rig) {
			write(g.t, filepath.Join(g.home.Dir(), "upgrades/v2/pre-upgrade"), "#!/bin/sh")
		}, "chmod +x"},
		{"missing", func(g *rig) { g.cfg.CustomPreupgrade = "nowhere.sh" }, "custom-preupgrade"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, oldNode, nil)
			g.stage("v2", newNode)
			tc.edit(g)
			g.start()
			g.plan(`{"name":"v2"}`)
			if e := g.becomes("v2", NotReady); !strings.Contains(e.Reason, tc.why) {
				t.Errorf("have %s", e.Reason)
			}
		})
	}
}

// What a hook leaves behind does not outlive it.
func TestHookThatLeavesADaemon(t *testing.T) {
	t.Parallel()
	g := newRig(t, oldNode, nil)
	g.stage("v2", newNode)
	put(t, filepath.Join(g.home.Dir(), "upgrades/v2/pre-upgrade"), "#!/bin/sh\n(trap '' TERM; echo $$ > daemon; exec sleep 1000) & exit 0")
	g.start()
	g.plan(`{"name":"v2"}`)
	g.becomes("v2", Done)
}
