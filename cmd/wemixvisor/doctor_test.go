package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/upgrade"
)

// healthy is a volume with a program in it that could be started, and nobody
// who runs it.
func healthy(t *testing.T) *settings {
	t.Helper()
	s := must(t, "--home="+t.TempDir(), "--probe-address=127.0.0.1:0", "--rpc-address=127.0.0.1:1", "--shutdown-grace=5m")
	s.warnings = nil // of the environment the test runs in
	home := upgrade.Home{Root: s.home, Name: s.name}
	if err := os.MkdirAll(filepath.Dir(home.Genesis()), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(home.Genesis(), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := home.Prepare(""); err != nil {
		t.Fatal(err)
	}
	return s
}

// lines returns doctor's findings of one name, as people read them.
func lines(t *testing.T, s *settings, name string) string {
	t.Helper()
	var text strings.Builder
	for _, f := range examine(t.Context(), s) {
		if f.Name == name {
			if err := report(&text, []finding{f}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return text.String()
}

func TestDoctorFindsNothingInAHealthyHome(t *testing.T) {
	s := healthy(t)
	for _, f := range examine(t.Context(), s) {
		if f.Level != levelOK {
			t.Errorf("want ok, have %+v", f)
		}
	}
	if err := doctor(t.Context(), s, nil); err != nil {
		t.Fatalf("want no error, have %v", err)
	}
	if have := lines(t, s, "grace"); !strings.Contains(have, "terminationGracePeriodSeconds: 330") {
		t.Errorf("want what the runtime must wait, have %s", have)
	}
	if _, err := os.Stat(s.dataDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("want nothing changed, have %v", err)
	}
}

func TestDoctorIsRedWhereTheNodeCouldNotLive(t *testing.T) {
	for _, tc := range []struct {
		name  string
		harm  func(t *testing.T, s *settings)
		line  string   // of which examination
		words []string // what it must say
	}{
		{"read-only home", func(t *testing.T, s *settings) {
			mount(t, filepath.Join(s.home, "data"), "size=1m", syscall.MS_RDONLY)
		}, "data-dir", []string{"read-only"}},
		{"a file where a folder should be", func(t *testing.T, s *settings) {
			write(t, filepath.Join(s.home, "backups"), "", time.Now())
		}, "backups", []string{"not a directory"}},
		{"our own folder as the node's", func(_ *testing.T, s *settings) {
			s.dataDir = filepath.Join(s.home, "wemixvisor")
		}, "data-dir", []string{"our own folder", "set data-dir"}},
		{"a full disk", func(t *testing.T, s *settings) {
			dir := mount(t, s.dataDir, "size=1m", 0)
			write(t, filepath.Join(dir, "fill"), strings.Repeat("x", 1<<20-8192), time.Now())
		}, "space", []string{"free", "make room"}},
		{"no inodes", func(t *testing.T, s *settings) {
			dir := mount(t, s.dataDir, "size=1m,nr_inodes=20", 0)
			for i := range 19 {
				write(t, filepath.Join(dir, strconv.Itoa(i)), "", time.Now())
			}
		}, "space", []string{"inodes"}},
		{"a file from the future", func(t *testing.T, s *settings) {
			write(t, filepath.Join(s.home, "wemixvisor", "journal.json"), "{}", time.Now().Add(time.Hour))
		}, "clock", []string{"journal.json", "1h0m0s in the future", "NTP"}},
		{"a link to nowhere", func(t *testing.T, s *settings) {
			if err := (upgrade.Home{Root: s.home, Name: s.name}).Switch("upgrades/v9"); err != nil {
				t.Fatal(err)
			}
		}, "link", []string{"current"}},
		{"another machine's binary", func(t *testing.T, s *settings) {
			elf, err := os.ReadFile("/proc/self/exe")
			if err != nil {
				t.Fatal(err)
			}
			elf[18], elf[19] = 0xf3, 0 // e_machine: EM_RISCV
			write(t, upgrade.Home{Root: s.home, Name: s.name}.Genesis(), string(elf), time.Now())
		}, "link", []string{"RISCV"}},
		{"a loader that is not there", func(t *testing.T, s *settings) {
			write(t, upgrade.Home{Root: s.home, Name: s.name}.Genesis(), "#!/lib/ld-musl.so\n", time.Now())
		}, "link", []string{"/lib/ld-musl.so", "missing in this image"}},
		{"a taken probe port", func(t *testing.T, s *settings) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
			s.probeAddress = ln.Addr().String()
		}, "probes", []string{"another program", "free the port"}},
		{"a supervisor that nobody reaches", func(t *testing.T, s *settings) {
			lock, err := upgrade.Home{Root: s.home, Name: s.name}.Lock(t.Context(), 0, upgrade.ForRun)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { lock.Close() })
		}, "supervisor", []string{"a supervisor has", "control-socket"}},
		{"an address that is none", func(_ *testing.T, s *settings) { s.rpcAddress = "ftp://x" }, "rpc", []string{"ftp", "set rpc-address"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := healthy(t)
			tc.harm(t, s)
			have := lines(t, s, tc.line)
			if !strings.Contains(have, "[red] "+tc.line+": ") {
				t.Fatalf("want %s red, have %s", tc.line, have)
			}
			for _, word := range tc.words {
				if !strings.Contains(have, word) {
					t.Errorf("want %q said, have %s", word, have)
				}
			}
			var code quiet
			if err := doctor(t.Context(), s, []string{"--json"}); !errors.As(err, &code) || code != exitFailed {
				t.Errorf("want exit 1, have %v", err)
			}
		})
	}
}

func TestDoctorGivesNoAdviceAsTheWrongUser(t *testing.T) {
	s := healthy(t)
	lock, err := upgrade.Home{Root: s.home, Name: s.name}.Lock(t.Context(), 0, upgrade.ForRun)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
	write(t, s.controlSocket, "", time.Now())
	if err := os.Chown(s.controlSocket, 65532, 65532); err != nil {
		t.Skip("needs root, to be somebody else:", err)
	}
	have := examine(t.Context(), s)
	if len(have) != 1 || have[0].Name != "user" || have[0].Level != levelRed || !strings.Contains(have[0].Next, "-u 65532") {
		t.Fatalf("want one red line and whom to be, have %+v", have)
	}
}

func TestDoctorWarns(t *testing.T) {
	s := healthy(t)
	s.warnings = []string{"DAEMON_SHUTDOWN_GRASE"}
	s.shutdownGrace = 30 * time.Second
	s.probeAddress = "off"
	for name, words := range map[string]string{
		"settings": "DAEMON_SHUTDOWN_GRASE",
		"grace":    "stop_grace_period: 5m30s",
		"probes":   "off",
	} {
		if have := lines(t, s, name); !strings.HasPrefix(have, "[warn] "+name+": ") || !strings.Contains(have, words) {
			t.Errorf("want a warning with %q, have %s", words, have)
		}
	}
	if err := doctor(t.Context(), s, nil); err != nil {
		t.Errorf("want exit 0 for warnings, have %v", err)
	}
}

// What hangs in the kernel must not keep the rest from being said.
func TestDoctorDoesNotWaitForWhatHangs(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	e := examination{"space", func(context.Context, *patient) []finding { <-release; return nil }}
	have := e.within(t.Context(), &patient{}, time.Millisecond)
	if len(have) != 1 || have[0].Level != levelRed {
		t.Fatalf("want one red line, have %+v", have)
	}
}

// mount puts a tmpfs on dir.
func mount(t *testing.T, dir, options string, flags uintptr) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		t.Skip("no mounts here:", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	return dir
}

func write(t *testing.T, file, text string, at time.Time) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestDoctorLooksAtBackups(t *testing.T) {
	for _, tc := range []struct {
		name  string
		do    func(t *testing.T, s *settings)
		line  string
		words []string
	}{
		{"none yet", func(*testing.T, *settings) {}, "archives", []string{"[ok]", "backup create"}},
		{"one that was cut short", func(t *testing.T, s *settings) {
			folder := filepath.Join(s.dataBackupDir, "20260102T030405Z-000001-full")
			write(t, filepath.Join(folder, "data.tar.zst"), "x", time.Now())
			write(t, filepath.Join(folder, "info.json"), `{"format":1,"id":"20260102T030405Z-000001-full","size":2}`, time.Now())
		}, "archives", []string{"[warn]", "20260102T030405Z-000001-full is damaged"}},
		{"data behind a link", func(t *testing.T, s *settings) {
			write(t, filepath.Join(s.home, "cold", "0000.cdat"), "x", time.Now())
			write(t, filepath.Join(s.dataDir, "geth", "x"), "x", time.Now())
			if err := os.Symlink(filepath.Join(s.home, "cold"), filepath.Join(s.dataDir, "geth", "ancient")); err != nil {
				t.Fatal(err)
			}
		}, "snapshots", []string{"[red]", "geth/ancient"}},
		{"old blocks elsewhere", func(t *testing.T, s *settings) { t.Setenv("GETH_DATADIR_ANCIENT", "/cold") }, "snapshots", []string{"[red]", "/cold"}},
		{"a key under another name", func(t *testing.T, s *settings) {
			write(t, filepath.Join(s.dataDir, "my.key"), "x", time.Now())
			t.Setenv("GETH_NODEKEY", filepath.Join(s.dataDir, "my.key"))
		}, "snapshots", []string{"[warn]", "/my.key", "called so"}},
		{"a key by its name, and one outside", func(t *testing.T, s *settings) {
			write(t, filepath.Join(s.dataDir, "geth", "nodekey"), "x", time.Now())
			t.Setenv("GETH_NODEKEY", filepath.Join(s.dataDir, "geth", "nodekey"))
			t.Setenv("GETH_KEYSTORE", t.TempDir())
			t.Setenv("GETH_AUTHRPC_JWTSECRET", filepath.Join(s.dataDir, "keystore", "token"))
		}, "snapshots", []string{"[ok]"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := healthy(t)
			tc.do(t, s)
			have := lines(t, s, tc.line)
			for _, word := range tc.words {
				if !strings.Contains(have, word) {
					t.Errorf("want %q, have %s", word, have)
				}
			}
		})
	}
}

// A foreign file stays when its plan was cancelled, and asks for nothing any more.
func TestDoctorLooksOnlyAtPlansToCome(t *testing.T) {
	s := healthy(t)
	write(t, filepath.Join(s.dataDir, "upgrade-info.json"), `{"name":"v2","height":1000}`, time.Now())
	if have := lines(t, s, "upgrades"); !strings.Contains(have, "plan v2") || !strings.Contains(have, "red") {
		t.Fatalf("want the missing binary told, have %q", have)
	}
	if err := cancelUpgrade(t.Context(), s, []string{"v2"}); err != nil {
		t.Fatal(err)
	}
	if have := lines(t, s, "upgrades"); !strings.Contains(have, "0 planned") {
		t.Errorf("want a cancelled plan left alone, have %q", have)
	}
}
