package upgrade

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// volume is a home with a queue over it.
type volume struct {
	*testing.T
	home     Home
	q        *Queue
	problems []Problem
}

func newVolume(t *testing.T) *volume {
	t.Helper()
	v := &volume{T: t, home: Home{Root: t.TempDir(), Name: "wemixd"}}
	v.q = NewQueue(QueueConfig{
		Home: v.home, Data: filepath.Join(v.home.Root, "data"), Interval: time.Millisecond,
		OnProblem: func(p Problem) { v.problems = append(v.problems, p) },
	})
	return v
}

// put writes a file below home as people do: not atomically.
func (v *volume) put(file, text string) {
	v.Helper()
	file = filepath.Join(v.home.Root, file)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		v.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		v.Fatal(err)
	}
}

func (v *volume) names() string {
	v.Helper()
	filings, _ := v.q.Look()
	var names []string
	for _, f := range filings {
		names = append(names, f.Name)
	}
	return strings.Join(names, " ")
}

func TestQueueReadsEverySource(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	if have := v.names(); have != "" {
		t.Fatalf("want none, have %s", have)
	}
	if err := v.home.File(Plan{Name: "a", Height: 1, By: ByCommand, Filed: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := v.home.FileBatch(Batch{Version: "1.0", Name: "b", Upgrades: []Plan{{Name: "b1", Height: 2}, {Name: "b2", Height: 3}}}, nil); err != nil {
		t.Fatal(err)
	}
	v.put("data/upgrade-info.json", `{"name":"c","height":4}`)
	v.put("data/upgrades/5/upgrade-info.json", `{"name":"d"}`)
	v.put("data/upgrades/none/upgrade-info.json", `{"name":"e"}`)
	v.put("data/upgrades/6/upgrade-info.json", `{"name":"f","height":7}`)
	if have, want := v.names(), "a b1 b2 c d"; have != want {
		t.Errorf("want %q, have %q", want, have)
	}
	filings, _ := v.q.Look()
	if d := filings[4]; d.Height != 5 || d.Files[0] != "data/upgrades/5/upgrade-info.json" {
		t.Errorf("have %+v", d)
	}
	if len(v.problems) != 1 || !strings.Contains(v.problems[0].Reason, "folder of height 6") {
		t.Errorf("have %+v", v.problems)
	}
}

func TestTheSamePlanTwiceIsOne(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	v.put("data/upgrade-info.json", `{"name":"a","height":4,"info":{}}`)
	v.put("data/upgrades/4/upgrade-info.json", `{"name":"a","height":"4"}`)
	if err := v.home.File(Plan{Name: "a", Height: 4}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		filings, _ := v.q.Look()
		if len(filings) != 1 || len(filings[0].Files) != 3 {
			t.Fatalf("have %+v", filings)
		}
	}
}

func TestTriggerFiles(t *testing.T) {
	t.Parallel()
	const good = `{"name":"v2","height":10}`
	for _, tc := range []struct {
		name, text string
		reason     string
	}{
		{"empty", "", "no complete JSON"},
		{"half-written", good[:12], "no complete JSON"},
		{"garbage", "\xff\xfe{}", "no complete JSON"},
		{"ten megabytes", strings.Repeat(" ", 10<<20), "too large"},
		{"a name with a slash", `{"name":"a/b","height":1}`, "only letters"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := newVolume(t)
			const file = "data/upgrade-info.json"
			v.put(file, tc.text)
			for range 5 { // at the first look it may still be in the making
				if have := v.names(); have != "" {
					t.Fatalf("want none, have %s", have)
				}
			}
			if len(v.problems) != 1 || v.problems[0].File != file || !strings.Contains(v.problems[0].Reason, tc.reason) {
				t.Errorf("want it said once, have %+v", v.problems)
			}
			v.put(file, good)
			if have := v.names(); have != "v2" {
				t.Errorf("want it when it is complete, have %q", have)
			}
			if _, problems := v.q.Look(); len(problems) != 0 {
				t.Errorf("have %+v", problems)
			}
		})
	}
}

// A pipe, or a folder, in the place of a file must not hold the queue up.
func TestWhatIsNoFile(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	if err := os.MkdirAll(filepath.Join(v.home.Root, "data/upgrades/3/upgrade-info.json"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(v.home.Root, "data/upgrade-info.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	v.names()
	if v.names(); len(v.problems) != 2 {
		t.Errorf("have %+v", v.problems)
	}
}

// What a file said stands while it is rewritten, and goes with the file.
func TestPlanStandsWhileItsFileIsRewritten(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	v.put("data/upgrade-info.json", `{"name":"v2","height":10}`)
	v.names()
	v.put("data/upgrade-info.json", `{"name":"v3","hei`)
	if have := v.names(); have != "v2" {
		t.Errorf("want the old one, have %q", have)
	}
	v.put("data/upgrade-info.json", `{"name":"v3","height":11}`)
	if have := v.names(); have != "v3" {
		t.Errorf("want the new one, have %q", have)
	}
	if err := os.Remove(filepath.Join(v.home.Root, "data/upgrade-info.json")); err != nil {
		t.Fatal(err)
	}
	if have := v.names(); have != "" {
		t.Errorf("want none, have %q", have)
	}
}

// A second write within the clock's grain, of the same size, is seen.
func TestQuickSecondWriteIsSeen(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	for _, name := range []string{"v2", "v3", "v4", "v5"} {
		v.put("data/upgrade-info.json", `{"name":"`+name+`","height":10}`)
		if have := v.names(); have != name {
			t.Fatalf("want %s, have %q", name, have)
		}
	}
}

func TestQueueTellsOfChanges(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { defer close(over); _ = v.q.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-over })
	for _, name := range []string{"v2", "v3"} {
		if err := v.home.File(Plan{Name: name}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-v.q.Changed():
		case <-time.After(10 * time.Second):
			t.Fatal("nothing changed")
		}
		v.q.take()
	}
	if err := v.home.Withdraw("v2"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-v.q.Changed():
	case <-time.After(10 * time.Second):
		t.Fatal("nothing changed")
	}
	if err := v.home.Withdraw("v2"); err != nil {
		t.Error(err)
	}
}

func TestBatchesAreListed(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	if err := v.home.FileBatch(Batch{Version: "1.0", Name: "b", Upgrades: []Plan{{Name: "b1", Height: 2}}}, nil); err != nil {
		t.Fatal(err)
	}
	v.put("wemixvisor/plans/bad.json", "{")
	all, err := v.home.Batches()
	if len(all) != 1 || all[0].Name != "b" || err == nil || !strings.Contains(err.Error(), "bad.json") {
		t.Errorf("have %+v, %v", all, err)
	}
	if err := v.home.RemoveBatch("b"); err != nil {
		t.Error(err)
	}
	if err := v.home.RemoveBatch("b"); err == nil {
		t.Error("want it missed")
	}
}

func TestTooManyFiles(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	dir := filepath.Join(v.home.Root, "data/upgrades")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range fileLimit + 1 {
		if err := os.Mkdir(filepath.Join(dir, strconv.Itoa(i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	v.names()
	if v.names(); len(v.problems) != 1 || !strings.Contains(v.problems[0].Reason, "more than") {
		t.Errorf("have %+v", v.problems)
	}
}
