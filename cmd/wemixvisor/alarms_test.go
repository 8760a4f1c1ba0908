package main

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/reaper"
)

// asked returns which alarms stand, and why.
func asked(rules []alert.Rule, now time.Time) map[string]string {
	why := map[string]string{}
	for _, r := range rules {
		switch r.Name {
		case "out_of_memory", "node_killed", "unclean_shutdown":
			if text := r.Check(alert.Scene{Now: now}); text != "" {
				why[r.Name] = text
			}
		}
	}
	return why
}

func TestHowTheNodeEndedIsAnAlarm(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, tc := range []struct {
		name  string
		end   supervisor.Ended
		alarm string
	}{
		{"clean", supervisor.Ended{Asked: true}, ""},
		{"a failure", supervisor.Ended{Exit: reaper.Exit{Code: 1}}, ""},
		{"out of memory", supervisor.Ended{Exit: reaper.Exit{Signal: syscall.SIGKILL}, OOM: true}, "out_of_memory"},
		{"needed a KILL", supervisor.Ended{Exit: reaper.Exit{Signal: syscall.SIGKILL}, Asked: true, Killed: true}, "node_killed"},
		{"a crash", supervisor.Ended{Exit: reaper.Exit{Signal: syscall.SIGSEGV}}, "unclean_shutdown"},
		{"a script whose program crashed", supervisor.Ended{Exit: reaper.Exit{Code: 139}}, "unclean_shutdown"},
		{"died of TERM before it could catch it", supervisor.Ended{Exit: reaper.Exit{Signal: syscall.SIGTERM}, Asked: true}, "unclean_shutdown"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var a alarms
			rules := a.rules(&settings{alertSettings: alertSettings{alertRemember: time.Minute}}, supervisor.New(supervisor.Config{}).Tail())
			tc.end.At = now
			a.ended(tc.end)
			have := asked(rules, now.Add(time.Second))
			if tc.alarm == "" && len(have) > 0 || tc.alarm != "" && (len(have) != 1 || have[tc.alarm] == "") {
				t.Errorf("want %q, have %v", tc.alarm, have)
			}
			if have := asked(rules, now.Add(time.Minute)); len(have) > 0 {
				t.Errorf("want it forgotten after a minute, have %v", have)
			}
		})
	}
}

func TestNodeSaysItWasNotShutDown(t *testing.T) {
	t.Parallel()
	var a alarms
	tail := supervisor.New(supervisor.Config{Logger: log.NewNopLogger()}).Tail()
	rules := a.rules(&settings{alertSettings: alertSettings{alertRemember: time.Minute}}, tail)
	now := time.Now()
	for _, step := range []struct {
		write string
		after time.Duration
		want  bool
	}{
		{"INFO Started\nWARN Unclean shut", 0, false},
		{"down detected booted=2026", time.Second, false}, // the line is not over yet
		{"-01-02\nINFO more\n", 2 * time.Second, true},
		{"INFO more\n", time.Minute, true},
		{"", 62 * time.Second, false},
		{strings.Repeat("x", 200<<10) + "\nWARN Unclean shutdown detected\n", 63 * time.Second, true},
	} {
		_, _ = tail.Write([]byte(step.write))
		if have := asked(rules, now.Add(step.after)); (have["unclean_shutdown"] != "") != step.want {
			t.Errorf("after %q: want %v, have %v", step.write[:min(len(step.write), 30)], step.want, have)
		}
	}
}

func TestReadmeListsEveryAlert(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	s := &settings{}
	for _, r := range slices.Concat((&alarms{}).rules(s, nil), backupRules(s, nil, time.Time{}), (&parts{}).consensusRules(s)) {
		if !strings.Contains(string(b), "`"+r.Name+"`") {
			t.Errorf("README lacks the alert %s", r.Name)
		}
	}
}
