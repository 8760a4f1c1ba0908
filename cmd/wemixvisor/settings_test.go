package main

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
)

// every is the table of settings: a value that is not the default, for each.
var every = map[string]string{
	"alert-for": "0s", "alert-full-within": "1h", "alert-head-age": "0s", "alert-max-lag": "7", "alert-min-free": "12.5%",
	"alert-min-peers": "3", "alert-urls": "generic://x.example/y?a=b,c, ntfy://h/t", "alert-remember": "1m",
	"api-address": "127.0.0.1:0", "api-origins": "https://a.example,http://b:1", "api-tls-cert": "/c", "api-tls-key": "/k",
	"api-token-file":   "/t",
	"alert-backup-age": "3h", "backup-include-secrets": "true", "backup-keep-days": "9", "backup-keep-full": "7", "backup-level": "3",
	"backup-min-free": "20GiB", "backup-rate": "50MiB", "backup-require-archive": "before", "backup-schedule": "24h", "backup-workers": "2",
	"control-socket": "/tmp/x.sock", "data-backup-dir": "/b", "data-dir": "/x", "health-check-interval": "7s", "home": "/h",
	"governance-address": "0x0000000000000000000000000000000000001000", "governance-confirmations": "0", "governance-event": "Decided",
	"governance-source":    "wemix",
	"live-max-rpc-silence": "0s", "lock-timeout": "3s", "log-file": "/l", "log-format": "json",
	"log-level": "debug", "max-restarts": "9", "metrics-interval": "8s", "name": "geth", "network": "testnet",
	"on-exit-zero": "restart", "probe-address": "off", "ready-max-head-age": "0s", "ready-max-lag": "3",
	"ready-min-peers": "2", "restart-on-failure": "false", "restart-window": "2m", "rpc-address": "x.ipc",
	"shutdown-grace": "5m", "signal-map": "HUP=0",
	"allow-remote-volume": "true", "alert-rollout": "5", "gate-downtime": "2m", "gate-policy": "hold", "gate-timeout": "1h",
	"validator-mode":          "true",
	"allow-download-binaries": "true", "alert-upgrade-blocks": "9", "confirm-blocks": "0", "confirm-time": "1s", "confirm-timeout": "2m",
	"custom-preupgrade": "hook", "image-policy": "seed", "poll-interval": "1s", "preupgrade-max-retries": "2",
	"preupgrade-subcommand": "true", "preupgrade-timeout": "1m", "restart-after-upgrade": "false", "restart-delay": "1s",
	"rollback": "never", "snapshot-keep": "1h", "unsafe-skip-backup": "true", "unsafe-skip-checksum": "true",
}

func TestEverySettingIsAFlagAVariableAndAKey(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	each(func(f *flag.Flag) {
		if f.Name == "config" {
			return
		}
		text, ok := every[f.Name]
		if !ok {
			t.Errorf("%s is missing in this test's table", f.Name)
			return
		}
		t.Run(f.Name, func(t *testing.T) {
			plain := *anyhow(t)
			byFlag := anyhow(t, "--"+f.Name+"="+text)
			file := filepath.Join(t.TempDir(), "config.toml")
			if err := os.WriteFile(file, []byte(f.Name+" = \""+text+"\"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			byFile := anyhow(t, "--config="+file)
			byFile.config = ""
			t.Setenv(envName(f.Name), text)
			byEnv := anyhow(t)
			if same(plain, *byFlag) {
				t.Errorf("the flag sets nothing")
			}
			if !same(*byFlag, *byEnv) || !same(*byFlag, *byFile) {
				t.Errorf("want the same from all three, have\n%+v\n%+v\n%+v", *byFlag, *byEnv, *byFile)
			}
		})
	})
}

func same(a, b settings) bool {
	maps := a.signalMap.String() == b.signalMap.String()
	a.signalMap, b.signalMap, a.warnings, b.warnings = nil, nil, nil, nil
	a.args, b.args, a.given, b.given, a.mistakes, b.mistakes = nil, nil, nil, nil, nil, nil
	return maps && reflect.DeepEqual(a, b)
}

// anyhow reads settings some of which need another.
func anyhow(t *testing.T, args ...string) *settings {
	t.Helper()
	s, _, err := parse(args)
	if s == nil {
		t.Fatal(err)
	}
	return s
}

func must(t *testing.T, args ...string) *settings {
	t.Helper()
	s, _, err := parse(args)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPrecedenceIsFlagEnvironmentFileDefault(t *testing.T) {
	home := t.TempDir()
	t.Setenv("DAEMON_HOME", home)
	if err := os.MkdirAll(filepath.Join(home, "wemixvisor"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "wemixvisor", "config.toml"), []byte("shutdown-grace = \"1m\"\nmax-restarts = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if want, have := time.Minute, must(t).shutdownGrace; want != have {
		t.Fatalf("file: want %s, have %s", want, have)
	}
	t.Setenv("DAEMON_SHUTDOWN_GRACE", "2m")
	if want, have := 2*time.Minute, must(t).shutdownGrace; want != have {
		t.Fatalf("environment: want %s, have %s", want, have)
	}
	if want, have := 3*time.Minute, must(t, "--shutdown-grace", "3m").shutdownGrace; want != have {
		t.Fatalf("flag: want %s, have %s", want, have)
	}
	t.Setenv("DAEMON_SHUTDOWN_GRACE", "")
	if want, have := time.Minute, must(t).shutdownGrace; want != have {
		t.Fatalf("an empty variable: want %s, have %s", want, have)
	}
}

func TestAllMistakesAreReportedTogether(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte("no-such-key = 1\nlog-level = \"loud\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DAEMON_SHUTDOWN_GRACE", "soon")
	t.Setenv("DAEMON_RESTART_ON_FAILURE", "yes")
	_, _, err := parse([]string{"--config", file, "--max-restarts=-1"})
	var usage usageError
	if !errors.As(err, &usage) {
		t.Fatalf("want a usage error, have %v", err)
	}
	for _, word := range []string{"no-such-key", "loud", "soon", "yes", "-1"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("want %q named, have %v", word, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("want one line, have %v", err)
	}
}

func TestIntervalsMayBeZero(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for _, text := range []string{"0s", "250ms"} {
		s := must(t, "--health-check-interval="+text, "--metrics-interval="+text)
		p := &parts{s: s, logger: log.NewNopLogger()}
		if err := p.buildWatch(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestUnknownVariablesAreNamed(t *testing.T) {
	t.Parallel()
	have := strangers([]string{"DAEMON_HOME=/x", "DAEMON_SHUTDOWN_GRASE=1s", "PATH=/"})
	if len(have) != 1 || have[0] != "DAEMON_SHUTDOWN_GRASE" {
		t.Fatalf("want the typo alone, have %v", have)
	}
}

func TestReadmeListsEverySetting(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	each(func(f *flag.Flag) {
		_, usage := flag.UnquoteUsage(f)
		row := "| `" + f.Name + "` | `" + envName(f.Name) + "` | "
		if f.DefValue != "" {
			row += "`" + f.DefValue + "` "
		}
		row += "| " + usage + " |"
		if !strings.Contains(string(b), row) {
			t.Errorf("README lacks the row:\n%s", row)
		}
	})
}

func FuzzConfigurationFile(f *testing.F) {
	f.Add("shutdown-grace = \"1m\"\n")
	f.Add("a = [1,\n[b]\nc = 2")
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := parse([]string{"--home=/h", "--config=" + file}); err != nil && exitCode(err) != exitUsage {
			t.Fatalf("want a usage error, have %v", err)
		}
	})
}

func TestTruthIsWrittenOut(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for text, want := range map[string]bool{"true": true, "TRUE": true, "True": true, "false": false, "False": false} {
		if have := must(t, "--restart-on-failure="+text).restartOnFailure; want != have {
			t.Errorf("%s: want %t, have %t", text, want, have)
		}
	}
	if !must(t, "--validator-mode").validatorMode {
		t.Error("want a flag alone to mean true")
	}
	for _, text := range []string{"1", "0", "t", "f", "T", "yes", "on", " true"} {
		t.Setenv("DAEMON_RESTART_ON_FAILURE", text)
		if _, _, err := parse(nil); err == nil || exitCode(err) != exitUsage || !strings.Contains(err.Error(), "DAEMON_RESTART_ON_FAILURE") {
			t.Errorf("%q: want it refused, have %v", text, err)
		}
	}
}

// TestDurationsMayBeZero: those that may not are times in which something has to
// happen.
func TestDurationsMayBeZero(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	least := map[string]bool{"confirm-timeout": true, "preupgrade-timeout": true, "gate-downtime": true}
	each(func(f *flag.Flag) {
		if _, err := time.ParseDuration(f.DefValue); err != nil || f.DefValue == "0" {
			return
		}
		if _, _, err := parse([]string{"--" + f.Name + "=0s"}); (err != nil) != least[f.Name] {
			t.Errorf("%s: have %v", f.Name, err)
		}
		if _, _, err := parse([]string{"--" + f.Name + "=-1s"}); err == nil {
			t.Errorf("%s: want a negative one refused", f.Name)
		}
	})
}
