package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/backup"
	"github.com/wemix/wemixvisor/cmd/internal/api"
	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/upgrade"
)

// guarded is a node that locks its data directory, and has some data.
const guarded = `d=$DAEMON_HOME/data/geth; mkdir -p $d/chaindata
[ -e $d/nodekey ] || echo key > $d/nodekey
[ -e $d/chaindata/000001.ldb ] || seq 300000 > $d/chaindata/000001.ldb
exec 9>$d/LOCK; flock -n 9 || exit 1
trap 'exit 0' TERM; echo node up; while :; do date +%N > $d/chaindata/head; sleep 0.05 9>&-; done`

// withBackups runs a supervisor of it, and waits until it has its lock.
func withBackups(t *testing.T, env ...string) *house {
	t.Helper()
	h := newHouse(t, guarded, append([]string{"DAEMON_READY_MAX_HEAD_AGE=0s"}, env...)...)
	h.run()
	pid := h.running(0)
	h.until("its lock", func() bool { return upgrade.Holds(pid, filepath.Join(h.home, "data")) })
	return h
}

// backup runs backup create and returns what it made.
func (h *house) backup(args ...string) backup.Info {
	h.t.Helper()
	code, out := h.command(append([]string{"backup", "create", "--json"}, args...)...)
	var info backup.Info
	text := out[max(0, strings.Index(out, "{")):] // on a slow machine its progress comes before it
	if err := json.Unmarshal([]byte(text), &info); err != nil || code != 0 || !info.Verified {
		h.t.Fatalf("want a backup, have %d %s", code, out)
	}
	return info
}

func (h *house) archives() []backup.Info {
	h.t.Helper()
	code, out := h.command("backup", "list", "--json")
	var all []backup.Info
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 {
		h.t.Fatalf("want a list, have %d %s", code, out)
	}
	return all
}

func reloadBackups(t *testing.T) {
	prove("alert-backup-age", "backup-include-secrets", "backup-keep-days", "backup-keep-full", "backup-level", "backup-rate", "backup-schedule")
	prove("backup-workers") // the same policy carries it; what it changes is which processors are warm
	t.Parallel()
	h := withBackups(t)
	first := h.backup()
	h.reload("backup-level = 19", "backup-include-secrets = true", "backup-keep-full = 1", "backup-keep-days = 9")
	second := h.backup()
	if first.Secrets || !second.Secrets {
		t.Errorf("want the identity in the second only, have %v %v", first.Secrets, second.Secrets)
	}
	if second.Bytes >= first.Bytes {
		t.Errorf("want it smaller at a higher level, have %d after %d bytes", second.Bytes, first.Bytes)
	}
	if n := len(h.archives()); n != 2 {
		t.Errorf("want both kept for their age, have %d", n)
	}
	h.reload("backup-keep-full = 1", "backup-rate = \"1MiB\"")
	began := time.Now()
	third := h.backup()
	if took := time.Since(began); took < time.Second {
		t.Errorf("want 2 MB to take two seconds, have %s", took)
	}
	if all := h.archives(); len(all) != 1 || all[0].ID != third.ID {
		t.Errorf("want the newest alone, have %v", all)
	}
	h.reload("alert-backup-age = \"1s\"")
	h.until("the alert", func() bool {
		st, _ := h.status()
		return slices.ContainsFunc(st.Alerts, func(a alert.Alert) bool { return a.Name == "backup_too_old" && a.Firing() })
	})
	h.reload("backup-schedule = \"4s\"")
	h.until("a scheduled one", func() bool { all := h.archives(); return len(all) > 0 && all[0].Reason == "scheduled" })
}

func TestBackupCommandsThroughTheSupervisorAndAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t, guarded)
	terminate, wait := h.run()
	pid := h.running(0)
	h.until("its lock", func() bool { return upgrade.Holds(pid, filepath.Join(h.home, "data")) })
	made := h.backup()
	if st, _ := h.status(); st.Backup.Last == nil || *st.Backup.Last != made.ID || *st.Backup.LastVerified != made.ID || st.Backup.Running != nil {
		t.Errorf("want it in the status, have %+v", st.Backup)
	}
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"backup", exitUsage, "one of create"},
		{"backup mend", exitUsage, "one of create"},
		{"backup create now", exitUsage, "no argument"},
		{"backup create --ofline", exitUsage, "ofline"},
		{"backup verify " + made.ID, 0, made.ID + ": whole"},
		{"backup verify --all --json", 0, `"verified": true`},
		{"backup verify 20000101T000000Z-000009-full", exitFailed, "no such backup"},
		{"backup restore", exitUsage, "want an ID"},
		{"backup restore nothing-here", exitFailed, "no such backup"},
		{"backup prune --dry-run", 0, "nothing to delete"},
		{"backup restore " + made.ID, 0, "restored to"},
		{"backup restore " + filepath.Join(h.home, "backups", made.ID), 0, "restored to"},
		{"backup restore " + made.ID + " --to " + filepath.Join(h.home, "elsewhere"), 0, "restored to"},
		{"backup restore " + made.ID + " --to " + filepath.Join(h.home, "elsewhere"), exitFailed, "not empty"},
	} {
		if code, out := h.command(strings.Fields(tc.args)...); code != tc.code || !strings.Contains(out, tc.says) {
			t.Errorf("%s: want %d %q, have %d %s", tc.args, tc.code, tc.says, code, out)
		} else if code != 0 && strings.Count(out, "\n") != 1 {
			t.Errorf("%s: want one line, have %s", tc.args, out)
		}
	}
	terminate()
	if code, out := wait(); code != 0 {
		t.Fatalf("want a clean end, have %d %s", code, out)
	}
	alone := h.backup("--include-secrets")
	if all := h.archives(); len(all) != 2 || all[0].ID != alone.ID {
		t.Errorf("want it first of two, have %v", all)
	}
	if code, out := h.command("backup", "restore", made.ID); code != 0 {
		t.Errorf("want it restored without a supervisor, have %d %s", code, out)
	}
	if left, _ := filepath.Glob(filepath.Join(h.home, "data/.wemixvisor/snapshots/*")); len(left) != 0 {
		t.Errorf("want no snapshot left, have %v", left)
	}
	// One that is damaged, and one for which there is no room.
	file := filepath.Join(h.home, "backups", alone.ID, "data.tar.zst")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 0xff
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"verify", "restore"} {
		if code, out := h.command("backup", verb, alone.ID); code != exitCorrupt || !strings.Contains(out, alone.ID) {
			t.Errorf("%s: want exit 5 for it, have %d %s", verb, code, out)
		}
	}
	h.env = append(h.env, "DAEMON_BACKUP_MIN_FREE=99.9%")
	if code, out := h.command("backup", "create"); code != exitNoSpace || !strings.Contains(out, "backup-min-free") {
		t.Errorf("want exit 6 and the way out, have %d %s", code, out)
	}
	home := upgrade.Home{Root: h.home, Name: "node"}
	lock, err := home.Lock(t.Context(), 0, "backup create")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	who := fmt.Sprintf("process %d (backup create); wait until that is done", os.Getpid())
	if code, out := h.command("backup", "create"); code != exitBusy || !strings.Contains(out, who) {
		t.Errorf("want exit 4 while somebody has the volume, and %q, have %d %s", who, code, out)
	}
}

func TestBackupRoutes(t *testing.T) {
	t.Parallel()
	h := withBackups(t)
	c := h.client()
	var made api.Backup
	if err := c.Post(t.Context(), "backups", api.BackupWish{}, &made); err != nil {
		t.Fatal(err)
	}
	var one, whole, gone api.Backup
	if err := c.Get(t.Context(), "backups/"+made.ID, &one); err != nil || one.SHA256 != made.SHA256 {
		t.Errorf("want it, have %v %+v", err, one)
	}
	if err := c.Post(t.Context(), "backups/"+made.ID+"/verify", struct{}{}, &whole); err != nil || !whole.Verified {
		t.Errorf("want it whole, have %v %+v", err, whole)
	}
	if err := c.Delete(t.Context(), "backups/"+made.ID, &gone); err != nil || gone.ID != made.ID {
		t.Errorf("want it deleted, have %v %+v", err, gone)
	}
	for _, err := range []error{
		c.Delete(t.Context(), "backups/"+made.ID, &gone),
		c.Get(t.Context(), "backups/"+made.ID, &one),
		c.Get(t.Context(), "backups/info.json", &one),
		c.Post(t.Context(), "backups/"+made.ID+"/restore", api.RestoreWish{}, &one),
	} {
		if err == nil || !strings.Contains(err.Error(), "no such backup") {
			t.Errorf("want none, have %v", err)
		}
	}
	var all []api.Backup
	if err := c.Get(t.Context(), "backups", &all); err != nil || all == nil || len(all) != 0 {
		t.Errorf("want an empty array, have %v %v", err, all)
	}
}

func TestNodeIsHeldWithTheReasonWhenItsDataIsHalfSwapped(t *testing.T) {
	t.Parallel()
	h := newHouse(t, guarded)
	journal := filepath.Join(h.home, "data/.wemixvisor/swap.json")
	if err := os.MkdirAll(filepath.Dir(journal), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(journal, []byte(`{"version":99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	h.run()
	h.until("held, and said so", func() bool {
		st, err := h.status()
		return err == nil && st.State == string(supervisor.Stopped) && strings.Contains(st.Reason, "half swapped") &&
			slices.ContainsFunc(st.Alerts, func(a alert.Alert) bool { return a.Name == "data_unfinished" && a.Firing() })
	})
	if live, startup := h.probe("/livez"), h.probe("/startupz"); live != 200 || startup != 200 {
		t.Errorf("want nobody to kill it, have %d %d", live, startup)
	}
	if code, out := h.command("start"); code == 0 || !strings.Contains(out, "half swapped") {
		t.Errorf("want it not started, have %d %s", code, out)
	}
	if err := os.Remove(journal); err != nil {
		t.Fatal(err)
	}
	if code, out := h.command("start"); code != 0 {
		t.Errorf("want it started once that is mended, have %d %s", code, out)
	}
}

func TestStatusTellsOfBackups(t *testing.T) {
	t.Parallel()
	old, young := "1-full", "2-full"
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for want, st := range map[string]api.BackupState{
		"none":             {},
		"2-full, verified": {Last: &young, LastVerified: &young},
		"2-full, not verified; the last verified one is 1-full": {Last: &young, LastVerified: &old},
		"1-full, not verified": {Last: &old},
		"create: archiving, 1 MiB of 4 MiB, since 2026-01-02T03:04:05Z": {Last: &old, Running: &upgrade.BackupJob{
			Kind: "create", Stage: "archiving", Done: 1 << 20, Total: 4 << 20, Since: since,
		}},
		"restore: swapping, since 2026-01-02T03:04:05Z": {Running: &upgrade.BackupJob{Kind: "restore", Stage: "swapping", Since: since}},
	} {
		if have := backupState(st); have != want {
			t.Errorf("want %q, have %q", want, have)
		}
	}
}

func TestAmountsAndFloors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"0": 0, "1": 1, "1K": 1024, "50MiB": 50 << 20, "1.5GiB": 3 << 29, "2GB": 2e9, "7 B": 7} {
		if have, err := parseBytes(text); err != nil || have != want {
			t.Errorf("%s: want %d, have %d %v", text, want, have, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1QB", "NaN", "1e30", "5%"} {
		if n, err := parseBytes(text); err == nil {
			t.Errorf("%q: want it refused, have %d", text, n)
		}
	}
	for text, want := range map[string]backup.Floor{
		"5%": {}, "1%": {Percent: 1, Bytes: 1}, "0%": {Bytes: 1}, "0": {Bytes: 1}, "20GiB": {Bytes: 20 << 30},
	} {
		if have, err := parseFloor(text); err != nil || have != want {
			t.Errorf("%s: want %+v, have %+v %v", text, want, have, err)
		}
	}
}

func TestAncientStoresOutsideAreFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"cold.toml":  "[Eth]\nNetworkId = 1111\nDatabaseFreezer = \"/cold\"\nSyncMode = \"full\"\n\n[Node]\nDataDir = \"/d\"\nHTTPModules = [\"eth\", \"net\"]\n\n[Node.P2P]\nMaxPeers = 50\n",
		"node.toml":  "[Node]\nDatabaseFreezer = \"/node\"\n",
		"below.toml": "[Eth]\nDatabaseFreezer = \"chain\"\n",
		"era.toml":   "[Eth]\nDatabaseEra = \"/era\"\n",
		"none.toml":  "[Eth]\nNetworkId = 1\n",
		"bad.toml":   "[Eth\nDatabaseFreezer = /cold",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		args, env []string
		want      []string
	}{
		{[]string{"--datadir", "/d", "--http"}, nil, nil},
		{[]string{"--datadir.ancient", "/cold"}, nil, []string{"/cold"}},
		{[]string{"-datadir.ancient=/cold"}, []string{"GETH_DATADIR_ANCIENT=/other", "PATH=/"}, []string{"/cold", "/other"}},
		{[]string{"--datadir.ancient=chain", "--datadir.ancient"}, nil, nil}, // below the data directory; and nothing
		{[]string{"datadir.ancient", "/x"}, nil, nil},
		{[]string{"--config", filepath.Join(dir, "cold.toml")}, nil, []string{"/cold"}},
		{[]string{"--config=cold.toml", "--http"}, nil, []string{"/cold"}},
		{[]string{"--config=none.toml", "--config", "cold.toml"}, nil, []string{"/cold"}},
		{nil, []string{"GETH_CONFIG=cold.toml"}, []string{"/cold"}},
		{[]string{"--config=none.toml"}, []string{"GETH_CONFIG=cold.toml"}, nil},
		{[]string{"--config=cold.toml", "--datadir.ancient=/other"}, nil, []string{"/other"}},
		{[]string{"--config=cold.toml", "--datadir.ancient=chain"}, nil, nil},
		{[]string{"--config=cold.toml"}, []string{"GETH_DATADIR_ANCIENT=/other"}, []string{"/other"}},
		{[]string{"--config=node.toml"}, nil, []string{"/node"}},
		{[]string{"--config=below.toml"}, nil, nil},
		{[]string{"--datadir.era", "/era"}, nil, []string{"/era"}},
		{[]string{"--datadir.era=era"}, nil, nil}, // below the ancient store
		{[]string{"--datadir.era=/era", "--datadir.ancient=/cold"}, nil, []string{"/cold", "/era"}},
		{[]string{"--config=cold.toml"}, []string{"GETH_DATADIR_ERA=/era"}, []string{"/cold", "/era"}},
		{[]string{"--config=era.toml"}, nil, []string{"/era"}},
		{[]string{"--config=era.toml", "--datadir.era=era"}, nil, nil},
		{[]string{"--datadir.ancient=~/cold"}, []string{"HOME=/root"}, []string{"/root/cold"}},
		{[]string{"--datadir.ancient=$DISK/cold"}, []string{"DISK=/mnt"}, []string{"/mnt/cold"}},
		{[]string{"--config=bad.toml"}, nil, nil},
		{[]string{"--config=absent.toml"}, nil, nil},
		{[]string{"--config"}, nil, nil},
	} {
		if have := ancients(tc.args, tc.env, dir); !slices.Equal(have, tc.want) {
			t.Errorf("%v %v: want %v, have %v", tc.args, tc.env, tc.want, have)
		}
	}
}

// Of a real node: what it writes of its own settings is what is read.
func TestAncientStoreInARealNodesConfiguration(t *testing.T) {
	t.Parallel()
	node, err := filepath.Abs("../../.cache/bin/geth-v1.16.9")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(node); err != nil {
		t.Skipf("no node here, make tools builds it: %v", err)
	}
	text, err := exec.Command(node, "--datadir.ancient", "/cold", "--datadir.era", "/era", "--dev", "dumpconfig").Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "node.toml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if have := ancients([]string{"--config", file}, nil, ""); !slices.Equal(have, []string{"/cold", "/era"}) {
		t.Errorf("want /cold and /era, have %v of\n%s", have, text)
	}
}

func TestProgressShowsWhatIsLeft(t *testing.T) {
	t.Parallel()
	for _, terminal := range []bool{true, false} {
		var out strings.Builder
		now := time.Unix(1000, 0)
		p := &progress{w: &out, terminal: terminal, now: func() time.Time { return now }, said: now}
		for done := int64(0); done <= 40; done++ {
			p.show("archiving", done<<20, 100<<20)
			now = now.Add(time.Second)
		}
		p.end()
		lines := strings.Split(out.String(), "\n")
		if terminal && (len(lines) != 1 || !strings.HasSuffix(out.String(), "\r\x1b[K")) {
			t.Errorf("want one line that is cleared, have %q", out.String())
		}
		if !terminal && len(lines) != 5 { // four in 40 s, and the end of the last
			t.Errorf("want a line each 10 s, have %q", lines)
		}
		if want := "archiving 10 MiB of 100 MiB, 1 MiB/s, 1m30s left"; !strings.Contains(out.String(), want) {
			t.Errorf("want %q, have %q", want, out.String())
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1000 << 10: "0.977 MiB", 5 << 40: "5 TiB"} {
		if have := size(n); have != want {
			t.Errorf("%d: want %s, have %s", n, want, have)
		}
	}
}
