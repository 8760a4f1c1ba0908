package upgrade

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"
	"go.uber.org/goleak"

	"github.com/wemix/wemixvisor/backup"
	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/reaper"
)

// role says which of the programs below the test binary is.
const role = "UPGRADE_TEST_ROLE"

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector sleeps a second in every exit(0)
	if os.Getenv(role) == "supervise" {
		os.Unsetenv(role)
		supervise(os.Args[1])
		return
	}
	flag.Parse()
	stop := collect()
	code := m.Run()
	stop()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Println(err)
		code = 1
	}
	os.Exit(code)
}

// children is the one waiter of the process: two would steal each other's.
var children = reaper.New()

// collect runs it, and returns how to end it.
func collect() func() {
	ctx, stop := context.WithCancel(context.Background())
	var over sync.WaitGroup
	over.Go(func() { _ = children.Run(ctx) })
	return func() { stop(); over.Wait() }
}

// output runs a program to its end and returns what it wrote, and an error when
// that was not exit 0. Whatever a test starts is started so: the waiter would
// collect what os/exec waits for.
func output(args, env []string) ([]byte, error) {
	path, err := reaper.Find(args[0], os.Getenv("PATH"))
	if err != nil {
		return nil, err
	}
	text, exit, err := children.Output(context.Background(), reaper.Command{Path: path, Args: args, Env: append(os.Environ(), env...)}, 1<<20)
	if err == nil && exit.Status() != 0 {
		err = errors.New(exit.String())
	}
	return text, err
}

// supervise is wemixvisor run in its smallest form, over the volume at root.
func supervise(root string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	defer collect()()
	m := newHost(root, log.NewLogfmtLogger(log.NewSyncWriter(os.Stderr)), nil)
	if err := m.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// host is a supervisor and an upgrader over one volume. Its node is a script
// that tells its head in a file.
type host struct {
	*Upgrader
	root   string
	home   Home
	sup    *supervisor.Supervisor
	queue  *Queue
	ready  chan struct{} // closed when the volume was recovered
	silent atomic.Bool   // RPC is not looked at
	frozen atomic.Pointer[Facts]
}

func newHost(root string, logger log.Logger, edit func(*Config, *supervisor.Config)) *host {
	m := &host{root: root, home: Home{Root: root, Name: "wemixd"}, ready: make(chan struct{})}
	env := []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	data := filepath.Join(root, "data")
	scfg := supervisor.Config{
		Reaper: children, Logger: log.With(logger, "component", "init"), Program: m.home.Program, Dir: root, Env: env,
		Grace: 10 * time.Second, RestartOnFailure: true, MaxRestarts: 5, RestartWindow: time.Minute,
		Next: func(ctx context.Context, end *supervisor.Ended) *supervisor.Change { return m.Next(ctx, end) },
	}
	m.queue = NewQueue(QueueConfig{Home: m.home, Data: data, Interval: 10 * time.Millisecond, Logger: logger})
	cfg := Config{
		Home: m.home, Data: data, Version: "v0", Env: env, Reaper: children, Queue: m.queue,
		Snapshots:    backup.NewSnapshotter(backup.SnapshotterConfig{Tree: backup.Tree{Root: data}, Floor: backup.Floor{Bytes: 1}}),
		Floor:        backup.Floor{Bytes: 1},
		Logger:       log.With(logger, "component", "upgrade"),
		PollInterval: 10 * time.Millisecond, ConfirmTimeout: 10 * time.Second, ConfirmTime: 50 * time.Millisecond, ConfirmBlocks: 1,
		HookDelay: 10 * time.Millisecond, HookGrace: time.Second, RetryInterval: 50 * time.Millisecond, SnapshotKeep: time.Hour,
		VersionTimeout: 5 * time.Second,
		Facts:          m.facts,
	}
	if edit != nil {
		edit(&cfg, &scfg)
	}
	m.sup = supervisor.New(scfg)
	cfg.Node = m.sup
	m.Upgrader = New(cfg)
	return m
}

// facts reads what the node tells: its pid and its head.
func (m *host) facts() Facts {
	if f := m.frozen.Load(); f != nil {
		return *f
	}
	st := m.sup.Status()
	f := Facts{Started: st.Started}
	text, err := os.ReadFile(filepath.Join(m.root, "rpc"))
	pid, head, ok := strings.Cut(strings.TrimSpace(string(text)), " ")
	height, herr := strconv.ParseUint(head, 10, 64)
	if err != nil || !ok || herr != nil || m.silent.Load() {
		return f
	}
	info, err := os.Stat(filepath.Join(m.root, "rpc"))
	if err != nil {
		return f
	}
	f.Height, f.Known, f.Hash, f.Seen = height, true, "0x"+head, info.ModTime()
	if st.Pid != 0 && pid == strconv.Itoa(st.Pid) {
		f.HeadKnown, f.FirstAnswer, f.LastAnswer = true, st.Started, time.Now()
	}
	return f
}

// run is what cmd does: lock, lay out, recover, then all parts.
func (m *host) run(ctx context.Context) error {
	lock, err := m.home.Lock(ctx, 10*time.Second, ForRun)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := m.home.Prepare(""); err != nil {
		return err
	}
	if err := m.Recover(ctx); err != nil {
		return err
	}
	close(m.ready)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { _ = m.queue.Run(ctx) })
	parts.Go(func() { _ = m.Run(ctx) })
	err = m.sup.Run(ctx)
	cancel()
	return err
}

// nodeScript is a node: it holds a lock, makes a block each 50 ms, and writes
// what it did. body comes before the blocks, each after each of them.
func nodeScript(version, body, each string) string {
	return `#!/bin/sh
[ "$1" = version ] && { echo "Version: ` + version + `"; exit 0; }
mkdir -p data/geth/chaindata
[ -e data/geth/nodekey ] || echo "key $$" > data/geth/nodekey
exec 9>data/geth/LOCK
flock -n 9 || { echo "Fatal: datadir already used"; exit 1; }
trap 'echo "stopped ` + version + `" >> data/geth/chaindata/log; exit 0' TERM
echo "start ` + version + `" >> starts
h=$(cat data/geth/chaindata/head 2>/dev/null || echo 0)
` + body + `
while :; do
	h=$((h+1))
	echo $h > data/geth/chaindata/head
	echo "$$ $h" > rpc.new && mv rpc.new rpc
	` + each + `
	sleep 0.05 9>&-
done
`
}

// lay makes a home with an old binary as genesis.
func lay(t *testing.T, root, script string) Home {
	t.Helper()
	h := Home{Root: root, Name: "wemixd"}
	put(t, h.Genesis(), script)
	if err := h.Prepare(""); err != nil {
		t.Fatal(err)
	}
	return h
}

// put writes an executable.
func put(t *testing.T, file, script string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// rig is a host that runs in the test.
type rig struct {
	*host
	t      *testing.T
	cancel context.CancelFunc
	ended  chan error

	mu     sync.Mutex
	logs   bytes.Buffer
	events []Event
	alarms []Alarm
}

// newRig lays out a volume whose old binary is script, and prepares a host
// for it; edit may change the configuration.
func newRig(t *testing.T, script string, edit func(*Config, *supervisor.Config)) *rig {
	t.Helper()
	root := t.TempDir()
	lay(t, root, script)
	return rigAt(t, root, edit)
}

func rigAt(t *testing.T, root string, edit func(*Config, *supervisor.Config)) *rig {
	t.Helper()
	g := &rig{t: t, ended: make(chan error, 1)}
	logger := log.NewLogfmtLogger(log.NewSyncWriter(writerFunc(func(p []byte) (int, error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.logs.Write(p)
	})))
	g.host = newHost(root, logger, func(c *Config, s *supervisor.Config) {
		c.OnEvent = func(e Event) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.events = append(g.events, e)
		}
		c.OnAlarm = func(a Alarm) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.alarms = append(g.alarms, a)
		}
		if edit != nil {
			edit(c, s)
		}
	})
	return g
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (g *rig) start() *rig {
	g.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	go func() { g.ended <- g.run(ctx) }()
	select {
	case <-g.ready:
	case err := <-g.ended:
		g.ended <- err
	}
	g.t.Cleanup(func() {
		g.stop()
		if g.t.Failed() {
			g.t.Logf("run ended with %v", <-g.ended)
			g.mu.Lock()
			defer g.mu.Unlock()
			g.t.Logf("%s", g.logs.Bytes())
			g.t.Logf("node: %s", g.read("starts"))
		}
	})
	return g
}

// stop ends the host, as a TERM would.
func (g *rig) stop() error {
	g.t.Helper()
	g.cancel()
	select {
	case err := <-g.ended:
		g.ended <- err
		return err
	case <-time.After(30 * time.Second):
		g.t.Fatal("it does not end")
		return nil
	}
}

func (g *rig) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(g.root, name))
	return string(b)
}

// plan writes a trigger file.
func (g *rig) plan(text string) {
	g.t.Helper()
	write(g.t, filepath.Join(g.root, "data", "upgrade-info.json"), text)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// stage puts the binary of an upgrade.
func (g *rig) stage(name, script string) {
	g.t.Helper()
	put(g.t, g.home.binary("upgrades/"+name), script)
}

// becomes waits for a plan to enter one of the stages.
func (g *rig) becomes(name string, want ...Stage) Entry {
	g.t.Helper()
	var e Entry
	eventually(g.t, fmt.Sprintf("%s is %v", name, want), func() bool {
		var err error
		if e, err = g.Entry(name); err != nil {
			return false
		}
		for _, s := range want {
			if e.Stage == s {
				return true
			}
		}
		return false
	}, func() string { return fmt.Sprintf("%s: %s", e.Stage, e.Reason) })
	return e
}

// runs waits until the node that runs is of that version and answers.
func (g *rig) runs(version string) {
	g.t.Helper()
	eventually(g.t, version+" runs", func() bool {
		lines := strings.Split(strings.TrimSpace(g.read("starts")), "\n")
		st := g.sup.Status()
		return st.State == supervisor.Running && lines[len(lines)-1] == "start "+version && g.facts().HeadKnown
	}, func() string { return g.read("starts") })
}

// head waits for the chain to come to a height.
func (g *rig) head(height uint64) {
	g.t.Helper()
	eventually(g.t, fmt.Sprintf("head %d", height), func() bool { return g.facts().HeadKnown && g.facts().Height >= height }, nil)
}

// starts returns which binaries were started, in order.
func (g *rig) starts() string {
	return strings.Join(strings.Fields(strings.ReplaceAll(g.read("starts"), "start ", "")), " ")
}

func eventually(t *testing.T, what string, ok func() bool, have func() string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			text := ""
			if have != nil {
				text = "; have " + have()
			}
			t.Fatalf("never happened: %s%s", what, text)
		}
	}
}

func (g *rig) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}
