package supervisor

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/reaper"
)

// patient is a node that counts each SIGTERM in the file terms, and ends.
const patient = `
trap 'echo TERM >> terms; exit 0' TERM
echo "ready $*"
while :; do sleep 0.02; done`

func TestCrashLoop(t *testing.T) {
	g := newRig(t, "exec >&2; echo starting; printf 'Fatal: no \\033[31mdisk\\n\\n'; exit 4", func(c *Config) { c.MaxRestarts = 1 })
	err := g.result()
	g.wants(err, ErrCrashLoop)
	for _, text := range []string{"1 restarts within 1m0s are spent", "exit status 4", "Fatal: no", "disk"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("want %q in %q", text, err)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\033") {
		t.Errorf("want one clean line, have %q", err)
	}
	end, n := g.last()
	if n != 2 || end.Exit.Code != 4 || end.Asked || end.Killed || end.OOM {
		t.Errorf("want two exits with 4, have %d, %+v", n, end)
	}
	want := []State{Starting, Running, Stopping, Backoff, Starting, Running, Stopping, Failed}
	if !slices.Equal(g.states, want) {
		t.Errorf("want %v, have %v", want, g.states)
	}
	if st := g.Status(); st.State != Failed || st.Restarts != 1 || len(st.Spent) != 1 || st.Pid != 0 || st.Last == nil || st.Last.Exit.Code != 4 {
		t.Errorf("have %+v", st)
	}
	g.wants(g.Stop(context.Background()), ErrClosed)
}

// A stable run earns the budget back.
func TestBudgetIsEarnedBack(t *testing.T) {
	g := newRig(t, "echo run; sleep 0.3; exit 1", func(c *Config) { c.MaxRestarts, c.RestartWindow = 1, 200*time.Millisecond })
	g.says("run", 3) // the third would be one too many
	g.cancel()
	g.must(g.result())
}

// What a node wrote before it was restarted is not the reason of the next end.
func TestLastWordsAreItsOwn(t *testing.T) {
	g := newRig(t, "[ -e again ] && exit 3; : > again; echo something else; exit 2", func(c *Config) { c.MaxRestarts = 1 })
	g.wants(g.result(), ErrCrashLoop)
	if have := g.ends[0].Words; have != "something else" {
		t.Errorf("want its words, have %q", have)
	}
	if have := g.ends[1].Words; have != "" {
		t.Errorf("it said nothing, have %q", have)
	}
}

func TestExitsThatEndTheSupervisor(t *testing.T) {
	for _, tc := range []struct {
		name      string
		script    string
		onFailure bool
		onSuccess bool
		want      error
		runs      int
	}{
		{"zero", "exit 0", true, false, ErrEnded, 1},
		{"zero that counts as a failure", "exit 0", true, true, ErrCrashLoop, 2},
		{"failure without restarts", "exit 3", false, true, ErrEnded, 1},
		{"signal without restarts", "kill -9 $$", false, false, ErrEnded, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newRig(t, tc.script, func(c *Config) {
				c.RestartOnFailure, c.RestartOnSuccess, c.MaxRestarts = tc.onFailure, tc.onSuccess, 1
			})
			g.wants(g.result(), tc.want)
			if _, n := g.last(); n != tc.runs {
				t.Errorf("want %d runs, have %d", tc.runs, n)
			}
		})
	}
}

func TestWhatCannotBeStarted(t *testing.T) {
	why := errors.New("no link")
	for _, tc := range []struct {
		file string
		err  error
		want error
	}{
		{"absent", nil, reaper.ErrNotFound},
		{".", nil, reaper.ErrNotExecutable},
		{"", why, why},
	} {
		t.Run(tc.file, func(t *testing.T) {
			g := newRig(t, "", func(c *Config) {
				dir := c.Dir
				c.Program = func() (string, error) { return filepath.Join(dir, tc.file), tc.err }
			})
			g.wants(g.result(), tc.want)
			if st := g.Status(); st.State != Stopped || !st.Held || !st.Stuck || !strings.Contains(st.Reason, tc.want.Error()) {
				t.Errorf("have %+v", st)
			}
		})
	}
}

func TestStopAndStart(t *testing.T) {
	ctx := context.Background()
	g := newRig(t, patient, func(c *Config) { c.Args = []string{"--first", "a b"} })
	g.says("ready --first a b\n", 1)
	g.wants(g.Start(ctx, nil), ErrRunning)
	pid := g.is(Running).Pid

	g.must(g.Stop(ctx))
	if alive(pid) {
		t.Error("Stop returned, and it is alive")
	}
	if have := g.read("terms"); have != "TERM\n" {
		t.Errorf("want one SIGTERM, have %q", have)
	}
	st := g.Status()
	if st.State != Stopped || !st.Held || st.Stuck || st.Pid != 0 || !st.Started.IsZero() || st.Reason != "stopped by request" || g.Process() != nil {
		t.Errorf("have %+v", st)
	}
	if end, _ := g.last(); !end.Asked || end.Killed {
		t.Errorf("have %+v", end)
	}
	g.must(g.Stop(ctx)) // once more changes nothing

	g.must(g.Start(ctx, nil))
	g.says("ready --first a b\n", 2)
	g.must(g.Restart(ctx, []string{"--second"}))
	g.says("ready --second\n", 1)
	g.must(g.Restart(ctx, nil))
	g.says("ready --second\n", 2)
	g.must(g.Restart(ctx, []string{}))
	g.says("ready \n", 1)
	st = g.Status()
	if st.State != Running || st.Held || st.Restarts != 0 || st.Change != nil || len(st.Args) != 0 || filepath.Base(st.Binary) != "node" {
		t.Errorf("have %+v", st)
	}
	g.cancel()
	g.must(g.result())
	if have := g.read("terms"); have != strings.Repeat("TERM\n", 5) {
		t.Errorf("want one SIGTERM for each stop, have %q", have)
	}
}

func TestStopInBackoff(t *testing.T) {
	ctx := context.Background()
	g := newRig(t, "echo run; exit 1", nil)
	g.is(Backoff)
	g.must(g.Stop(ctx))
	if st := g.Status(); st.State != Stopped || !st.Held {
		t.Errorf("have %+v", st)
	}
	_, runs := g.last()
	g.write("node", patient)
	g.must(g.Start(ctx, nil)) // and the timer of the back-off is off
	g.says("ready", 1)
	if _, n := g.last(); n != runs {
		t.Errorf("want %d ends, have %d", runs, n)
	}
}

func TestBusyWhileItStops(t *testing.T) {
	ctx := context.Background()
	g := newRig(t, "trap 'while [ ! -e go ]; do sleep 0.01; done; exit 0' TERM; echo ready; while :; do sleep 0.02; done", nil)
	g.says("ready", 1)
	stopped := make(chan error, 1)
	go func() { stopped <- g.Stop(ctx) }()
	g.is(Stopping)
	g.wants(g.Start(ctx, nil), ErrBusy)
	g.wants(g.Stop(ctx), ErrBusy)
	g.wants(g.Change(ctx, Change{Kind: "test"}), ErrBusy)
	g.write("go", "")
	g.must(<-stopped)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := g.Start(gone, nil); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, have %v", err)
	}
}

func TestDeafNodeIsKilled(t *testing.T) {
	g := newRig(t, "trap '' TERM; echo ready; while :; do sleep 0.02; done", func(c *Config) { c.Grace = 300 * time.Millisecond })
	g.says("ready", 1)
	g.must(g.Stop(context.Background()))
	if end, _ := g.last(); !end.Killed || !end.Asked || end.Exit.Signal != syscall.SIGKILL {
		t.Errorf("want SIGKILL, have %+v", end)
	}
}

// The next node must get the lock that a daemon of the last one held, and a
// crash leaves no daemon behind either.
func TestNobodyOfTheOldGenerationIsAlive(t *testing.T) {
	if _, err := exec.LookPath("flock"); err != nil {
		t.Skip(err)
	}
	g := newRig(t, `
		flock -n lock true || { echo LOCKED; exit 1; }
		setsid flock lock sh -c 'trap "" TERM; : > held; while :; do sleep 0.02; done' &
		while [ ! -e held ]; do sleep 0.01; done
		rm held
		echo ready
		if [ "$1" = crash ]; then exit 1; fi
		while :; do sleep 0.02; done`, func(c *Config) { c.Grace = 300 * time.Millisecond })
	g.says("ready", 1)
	for i := range 3 {
		g.must(g.Restart(context.Background(), nil))
		g.says("ready", 2+i)
	}
	g.must(g.Restart(context.Background(), []string{"crash"}))
	g.says("ready", 6) // two of the one that crashed, after its back-off
	if have := string(must(g.Tail().Lines(100))); strings.Contains(have, "LOCKED") {
		t.Errorf("a daemon outlived its node: %q", have)
	}
}

func must(text []byte, _ int64) []byte { return text }

// The node exits by itself at the moment it is asked to stop, start and restart.
func TestRequestsMeetExits(t *testing.T) {
	g := newRig(t, "exit 1", func(c *Config) { c.MaxRestarts = 1 << 30 })
	var all sync.WaitGroup
	deadline := time.Now().Add(3 * time.Second)
	for range 3 {
		all.Go(func() {
			for i := 0; time.Now().Before(deadline); i++ {
				var err error
				switch ctx := context.Background(); i % 3 {
				case 0:
					err = g.Start(ctx, nil)
				case 1:
					err = g.Stop(ctx)
				case 2:
					err = g.Restart(ctx, nil)
				}
				if err != nil && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrRunning) {
					t.Error(err)
					return
				}
				if st := g.Status(); (st.State == Running) != (st.Pid != 0) && st.State != Stopping {
					t.Errorf("have %+v", st)
				}
			}
		})
	}
	all.Wait()
	eventually(t, "the loop takes a request", func() bool { return g.Stop(context.Background()) == nil })
	g.cancel()
	g.must(g.result())
}

func TestShutdownInEveryState(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script string
		until  func(g *rig)
	}{
		{"running", patient, func(g *rig) { g.says("ready", 1) }},
		{"back-off", "exit 1", func(g *rig) { g.is(Backoff) }},
		{"stopped", patient, func(g *rig) { g.says("ready", 1); g.must(g.Stop(context.Background())) }},
		{"at once", patient, func(*rig) {}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newRig(t, tc.script, nil)
			tc.until(g)
			g.cancel()
			g.must(g.result())
			if st := g.Status(); st.State != Stopped || st.Pid != 0 || g.Process() != nil {
				t.Errorf("have %+v", st)
			}
		})
	}
}

// A request that comes with the end of ctx starts no node.
func TestNoStartInShutdown(t *testing.T) {
	for range 20 {
		t.Run("", func(t *testing.T) { // one Reaper at a time
			g := newRig(t, patient, nil)
			g.says("ready", 1)
			g.must(g.Stop(context.Background()))
			_, before := g.last()
			g.cancel()
			err := g.Start(context.Background(), nil)
			g.must(g.result())
			if _, n := g.last(); n != before {
				t.Fatalf("it was started to be stopped: %v", err)
			}
		})
	}
}

func TestBeat(t *testing.T) {
	g := prepareRig(t, patient, nil)
	if !g.Beat().IsZero() {
		t.Error("it beats before Run")
	}
	g.run()
	g.says("ready", 1)
	if have := time.Since(g.Beat()); have > 20*time.Second {
		t.Errorf("have %s", have)
	}
}

// Outside a container nobody ends the node of a killed supervisor but the kernel.
func TestNodeDoesNotOutliveAKilledSupervisor(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-c", "echo $$; exec sleep 1000")
	cmd.Env = append(os.Environ(), role+"=run")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 32)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil || !alive(pid) {
		t.Fatalf("want the pid of a live node, have %q, %v", line[:n], err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	eventually(t, "the node is gone", func() bool { return !alive(pid) })
}
