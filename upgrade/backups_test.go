package upgrade

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/backup"
	supervisor "github.com/wemix/wemixvisor/init"
)

// vault is a supervisor and the backups of its node, over one volume.
type vault struct {
	*Backups
	t    *testing.T
	root string
	data string
	home Home
	sup  *supervisor.Supervisor
	end  func()

	mu     sync.Mutex
	policy BackupPolicy
	events []BackupEvent
	states []supervisor.Status
	logs   bytes.Buffer

	archiving int // the node's process when an archive was begun
}

// keeper is a node that keeps a lock, an identity, and bytes that never change.
var keeper = nodeScript("v1", `[ -e data/geth/chaindata/000001.ldb ] || head -c 3000000 /dev/urandom > data/geth/chaindata/000001.ldb`, "")

// newVault lays out a volume and runs a supervisor on it, with a node that runs.
func newVault(t *testing.T, script string, edit func(*BackupsConfig, *supervisor.Config)) *vault {
	t.Helper()
	root := t.TempDir()
	lay(t, root, script)
	v := vaultAt(t, root, edit)
	v.run()
	v.runs()
	return v
}

func vaultAt(t *testing.T, root string, edit func(*BackupsConfig, *supervisor.Config)) *vault {
	t.Helper()
	v := &vault{t: t, root: root, data: filepath.Join(root, "data"), home: Home{Root: root, Name: "wemixd"}}
	logger := log.NewLogfmtLogger(log.NewSyncWriter(writerFunc(func(p []byte) (int, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.logs.Write(p)
	})))
	scfg := supervisor.Config{
		Reaper: children, Logger: logger, Program: v.home.Program, Dir: root,
		Env:   []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"},
		Grace: 10 * time.Second, RestartOnFailure: true, MaxRestarts: 5, RestartWindow: time.Minute,
		OnTransition: func(_, to supervisor.Status) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.states = append(v.states, to)
		},
		Next: func(_ context.Context, end *supervisor.Ended) *supervisor.Change { return v.First(end) },
	}
	cfg := BackupsConfig{
		Home: v.home, Data: v.data,
		Snapshots: backup.NewSnapshotter(backup.SnapshotterConfig{Tree: backup.Tree{Root: v.data}, Floor: backup.Floor{Bytes: 1}}),
		Repo:      backup.NewRepo(backup.RepoConfig{Dir: filepath.Join(root, "backups"), Program: "v0", Floor: backup.Floor{Bytes: 1}}),
		Logger:    logger,
		Facts: func() Facts {
			return Facts{Known: true, Height: 7, Hash: "0x07", ChainID: 1111, Genesis: "0x00"}
		},
		Version: func() string { return "v1.2.3" },
		Policy: func() BackupPolicy {
			v.mu.Lock()
			defer v.mu.Unlock()
			return v.policy
		},
		OnEvent: func(e BackupEvent) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.events = append(v.events, e)
			if e.Stage == stageArchive && e.Done == 0 {
				v.archiving = v.sup.Status().Pid
			}
		},
	}
	v.policy.Keep.KeepFull = 2
	if edit != nil {
		edit(&cfg, &scfg)
	}
	v.sup = supervisor.New(scfg)
	cfg.Node = v.sup
	v.Backups = NewBackups(cfg)
	return v
}

// run is what cmd does.
func (v *vault) run() {
	v.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	v.Recover(ctx)
	var parts sync.WaitGroup
	parts.Go(func() { _ = v.sup.Run(ctx) })
	parts.Go(func() { _ = v.Run(ctx) })
	v.end = sync.OnceFunc(func() { cancel(); parts.Wait() })
	v.t.Cleanup(func() {
		v.end()
		if v.t.Failed() {
			v.t.Logf("%s", v.logs.Bytes())
		}
	})
}

func (v *vault) runs() {
	v.t.Helper()
	eventually(v.t, "the node runs in its data directory", func() bool {
		st := v.sup.Status()
		return st.State == supervisor.Running && Holds(st.Pid, v.data) && v.head() != ""
	}, func() string { return string(v.sup.Status().State) })
}

func (v *vault) head() string {
	b, _ := os.ReadFile(filepath.Join(v.data, "geth/chaindata/head"))
	return strings.TrimSpace(string(b))
}

func (v *vault) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(v.data, name))
	return string(b)
}

func (v *vault) snapshots() int {
	v.t.Helper()
	all, err := v.cfg.Snapshots.List()
	if err != nil {
		v.t.Fatal(err)
	}
	return len(all)
}

func TestBackupStopsTheNodeForItsSnapshotOnly(t *testing.T) {
	v := newVault(t, keeper, nil)
	pid := v.sup.Status().Pid
	info, err := v.Create(t.Context(), BackupOptions{})
	if err != nil {
		t.Fatal(err)
	}
	sum, _ := hashFile(t.Context(), v.home.Genesis())
	want := backup.Origin{
		Binary: sum, Version: "v1.2.3", Upgrade: "genesis", ChainID: 1111, Genesis: "0x00",
		Height: 7, Hash: "0x07", CleanShutdown: true, Consistency: backup.Stopped,
	}
	if info.Origin != want || !info.Verified || info.Reason != "manual" || info.Secrets {
		t.Errorf("want origin %+v, have %+v", want, info)
	}
	st := v.sup.Status()
	if st.State != supervisor.Running || st.Pid == pid || st.Change != nil {
		t.Errorf("want the node up again in a new process, have %+v", st)
	}
	v.runs()
	// The node came up before the archive was made, and the change was shown.
	v.mu.Lock()
	var shown []string
	for _, s := range v.states {
		if s.Change != nil {
			shown = append(shown, s.Change.Kind+" "+s.Change.Stage)
		}
	}
	archiving := v.archiving
	last := v.events[len(v.events)-1]
	v.mu.Unlock()
	if text := strings.Join(shown, ","); !strings.Contains(text, "backup stopping") || !strings.Contains(text, "backup applying") {
		t.Errorf("want the change shown, have %s", text)
	}
	if archiving != st.Pid {
		t.Errorf("want the node up while the archive is made, have process %d then and %d now", archiving, st.Pid)
	}
	if !last.Over || last.Stage != "done" || last.ID != info.ID {
		t.Errorf("want the end told, have %+v", last)
	}
	if n := v.snapshots(); n != 0 {
		t.Errorf("want the snapshot dropped, have %d", n)
	}
	f := v.Figures()
	if f.Last == nil || f.Last.ID != info.ID || f.LastVerified == nil || f.Took <= 0 || f.Down <= 0 || f.Down > f.Took || f.Failures != 0 {
		t.Errorf("want it counted, have %+v", f)
	}
	// With ordinary tools.
	out := t.TempDir()
	archive := filepath.Join(v.root, "backups", info.ID, "data.tar.zst")
	if text, err := output([]string{"tar", "--zstd", "-xf", archive, "-C", out}, nil); err != nil {
		t.Skipf("no tar with zstd: %v %s", err, text)
	}
	have, _ := os.ReadFile(filepath.Join(out, "geth/chaindata/000001.ldb"))
	if string(have) != v.read("geth/chaindata/000001.ldb") || len(have) == 0 {
		t.Error("want tar to unpack what the node has")
	}
	if log, _ := os.ReadFile(filepath.Join(out, "geth/chaindata/log")); !strings.Contains(string(log), "stopped v1") {
		t.Errorf("want the node's last words before the snapshot in it, have %q", log)
	}
	if _, err := os.Stat(filepath.Join(out, "geth/nodekey")); err == nil {
		t.Error("want no identity in it")
	}
}

func TestBackupOfANodeThatIsHeldDownLeavesItSo(t *testing.T) {
	v := newVault(t, keeper, nil)
	if err := v.sup.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	info, err := v.Create(t.Context(), BackupOptions{IncludeSecrets: true})
	if err != nil {
		t.Fatal(err)
	}
	if !info.Secrets || !info.Origin.CleanShutdown {
		t.Errorf("want secrets and a clean stop recorded, have %+v", info)
	}
	if st := v.sup.Status(); st.State != supervisor.Stopped || !st.Held {
		t.Errorf("want it held down, have %+v", st)
	}
}

func TestOnlineBackupStopsNobody(t *testing.T) {
	v := newVault(t, keeper, nil)
	pid := v.sup.Status().Pid
	info, err := v.Create(t.Context(), BackupOptions{Online: true})
	if err != nil {
		t.Fatal(err)
	}
	if info.Origin.Consistency != backup.Frozen || info.Origin.CleanShutdown {
		t.Errorf("want it marked, have %+v", info.Origin)
	}
	if have := v.sup.Status().Pid; have != pid {
		t.Errorf("want process %d left alone, have %d", pid, have)
	}
	at := v.head()
	eventually(t, "it goes on", func() bool { return v.head() != at }, nil)
}

func TestBackupAfterAKillIsNotCalledClean(t *testing.T) {
	stubborn := strings.Replace(keeper, "exit 0' TERM", "' TERM", 1)
	v := newVault(t, stubborn, func(_ *BackupsConfig, s *supervisor.Config) { s.Grace = 200 * time.Millisecond })
	info, err := v.Create(t.Context(), BackupOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if info.Origin.CleanShutdown {
		t.Error("want a stop that needed SIGKILL recorded as what it was")
	}
}

func TestBackupIsRefusedWhereItWouldBeOfNothing(t *testing.T) {
	elsewhere := strings.ReplaceAll(keeper, "data/geth", "other/geth")
	root := t.TempDir()
	lay(t, root, elsewhere)
	v := vaultAt(t, root, nil)
	if err := os.MkdirAll(v.data, 0o755); err != nil {
		t.Fatal(err)
	}
	v.run()
	eventually(t, "the node runs", func() bool { _, err := os.Stat(filepath.Join(root, "other/geth/LOCK")); return err == nil }, nil)
	pid := v.sup.Status().Pid
	for _, up := range []bool{true, false} {
		if !up {
			if err := v.sup.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := v.Create(t.Context(), BackupOptions{}); !errors.Is(err, ErrCustody) {
			t.Fatalf("up %v: want it refused, have %v", up, err)
		}
		if up && v.sup.Status().Pid != pid {
			t.Fatal("want the node left alone")
		}
	}
}

// Where nothing can be written to, or somebody else writes, a scheduled backup would stop
// the node time and again for nothing.
func TestBackupThatCannotBeWrittenStopsNobody(t *testing.T) {
	for name, tc := range map[string]struct {
		harm func(t *testing.T, repo string)
		want error
	}{
		"another process works there": {func(t *testing.T, repo string) {
			f, err := os.OpenFile(filepath.Join(repo, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
				t.Fatal(err)
			}
		}, backup.ErrBusy},
		"a read-only disk": {func(t *testing.T, repo string) {
			if err := unix.Mount("tmpfs", repo, "tmpfs", unix.MS_RDONLY, ""); err != nil {
				t.Skipf("no right to mount: %v", err)
			}
			t.Cleanup(func() { _ = unix.Unmount(repo, unix.MNT_DETACH) })
		}, unix.EROFS},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVault(t, keeper, nil)
			repo := filepath.Join(v.root, "backups")
			if err := os.Mkdir(repo, 0o755); err != nil {
				t.Fatal(err)
			}
			tc.harm(t, repo)
			pid := v.sup.Status().Pid
			if _, err := v.Create(t.Context(), BackupOptions{}); !errors.Is(err, tc.want) {
				t.Errorf("want %v, have %v", tc.want, err)
			}
			if have := v.sup.Status().Pid; have != pid {
				t.Errorf("want node %d left alone, have %d", pid, have)
			}
		})
	}
}

// pace makes backups take their time: so many bytes a second.
func (v *vault) pace(rate int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.policy.Rate = rate
}

func TestBackupKeepsOutOfTheWay(t *testing.T) {
	t.Run("of another change", func(t *testing.T) {
		v := newVault(t, keeper, nil)
		in, out := make(chan struct{}), make(chan struct{})
		done := make(chan error, 1)
		go func() {
			done <- v.sup.Change(context.Background(), supervisor.Change{Kind: "upgrade", Apply: func(context.Context) error {
				close(in)
				<-out
				return nil
			}})
		}()
		<-in
		if _, err := v.Create(t.Context(), BackupOptions{}); !errors.Is(err, supervisor.ErrBusy) {
			t.Errorf("want it refused, have %v", err)
		}
		close(out)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
	t.Run("of the gate", func(t *testing.T) {
		shut := errors.New("two of four validators are down")
		v := newVault(t, keeper, func(c *BackupsConfig, _ *supervisor.Config) {
			c.Gate = func(context.Context) error { return shut }
		})
		pid := v.sup.Status().Pid
		if _, err := v.Create(t.Context(), BackupOptions{}); !errors.Is(err, shut) {
			t.Errorf("want the gate's word, have %v", err)
		}
		if v.sup.Status().Pid != pid {
			t.Error("want the node left alone")
		}
		if entries, _ := os.ReadDir(filepath.Join(v.data, ".wemixvisor/snapshots")); len(entries) != 0 {
			t.Errorf("want nothing prepared left, have %v", entries)
		}
		if v.Figures().Failure == "" || v.Figures().Failures != 1 {
			t.Error("want the failure counted")
		}
	})
	t.Run("of another backup", func(t *testing.T) {
		v := newVault(t, keeper, nil)
		v.pace(1 << 20) // a backup that takes its time
		var parts sync.WaitGroup
		defer parts.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		parts.Go(func() {
			if _, err := v.Create(ctx, BackupOptions{}); !errors.Is(err, context.Canceled) {
				t.Errorf("want the caller let go, have %v", err)
			}
		})
		eventually(t, "archiving", func() bool { j := v.Job(); return j != nil && j.Stage == stageArchive && j.Done > 0 }, nil)
		v.runs()
		if _, err := v.Create(t.Context(), BackupOptions{}); !errors.Is(err, backup.ErrBusy) || !strings.Contains(err.Error(), "archiving") {
			t.Errorf("want to hear what is being done, have %v", err)
		}
		cancel() // who asked goes: the backup is made all the same
		eventually(t, "made", func() bool { all, _ := v.List(); return len(all) == 1 && v.Job() == nil }, nil)
	})
}

func TestNodeThatDoesNotComeBackKeepsItsBackup(t *testing.T) {
	v := newVault(t, keeper, func(_ *BackupsConfig, s *supervisor.Config) {
		program, starts := s.Program, 0
		s.Program = func() (string, error) {
			if starts++; starts > 1 {
				return "", errors.New("the binary is gone")
			}
			return program()
		}
	})
	info, err := v.Create(t.Context(), BackupOptions{})
	if err != nil || !info.Verified {
		t.Fatalf("want the backup made, have %v", err)
	}
	if st := v.sup.Status(); !st.Stuck || !strings.Contains(st.Reason, "the binary is gone") {
		t.Errorf("want the node held with the reason, have %+v", st)
	}
}

func TestScheduleGoesByWhatLiesInTheRepository(t *testing.T) {
	v := newVault(t, keeper, nil)
	v.mu.Lock()
	v.policy.Schedule = 2 * time.Second
	v.mu.Unlock()
	eventually(t, "three backups, of which two stay", func() bool {
		f := v.Figures()
		return f.Last != nil && f.Last.Reason == reasonScheduled && strings.Contains(f.Last.ID, "-000003-")
	}, nil)
	v.mu.Lock()
	v.policy.Schedule = 0
	v.mu.Unlock()
	eventually(t, "rest", func() bool { return v.Job() == nil }, nil)
	all, err := v.List()
	if err != nil || len(all) > 2 {
		t.Errorf("want the older ones pruned, have %v %v", all, err)
	}
}

func TestScheduleNeitherHurriesNorForgets(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	hour := time.Hour
	for _, tc := range []struct {
		name     string
		archives []backup.Info
		want     time.Time
	}{
		{"none: soon after the start", nil, now},
		{"one by somebody else counts", []backup.Info{{Created: now.Add(-hour), Verified: true}}, now.Add(hour)},
		{"a damaged one does not", []backup.Info{{Created: now.Add(-hour)}, {Created: now.Add(-3 * hour), Verified: true}}, now.Add(-hour)},
		{"a clock that went back", []backup.Info{{Created: now.Add(9000 * hour), Verified: true}}, now.Add(2 * hour)},
	} {
		b := NewBackups(BackupsConfig{Now: func() time.Time { return now }})
		b.ledger.Store(&ledger{archives: tc.archives})
		s := schedule{b: b, started: now, every: 2 * hour}
		if have := s.next(); !have.Equal(tc.want) {
			t.Errorf("%s: want %s, have %s", tc.name, tc.want, have)
		}
	}
	b := NewBackups(BackupsConfig{Now: func() time.Time { return now }})
	s := schedule{b: b, started: now, every: hour}
	for i, want := range []time.Duration{3 * time.Minute, 6 * time.Minute, 12 * time.Minute, 24 * time.Minute, 48 * time.Minute, hour, hour} {
		if s.made(errors.New("no")); s.pause != want {
			t.Errorf("failure %d: want a pause of %s, have %s", i, want, s.pause)
		}
	}
	if s.made(supervisor.ErrBusy); s.retry.After(now.Add(time.Minute)) {
		t.Error("want a try soon when it was only somebody else's turn")
	}
	if s.made(nil); s.pause != 0 {
		t.Error("want a success to forgive")
	}
}
