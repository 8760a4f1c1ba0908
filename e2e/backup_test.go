//go:build e2e

package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	tc "github.com/testcontainers/testcontainers-go"
)

// archive is what of a backup's info.json matters here.
type archive struct {
	ID        string `json:"id"`
	Bytes     int64  `json:"bytes"`
	DataBytes int64  `json:"data_bytes"`
	Verified  bool   `json:"verified"`
	Secrets   bool   `json:"secrets"`
	Origin    struct {
		Binary        string `json:"binary"`
		Genesis       string `json:"genesis"`
		ChainID       uint64 `json:"chain_id"`
		Height        uint64 `json:"height"`
		Hash          string `json:"hash"`
		CleanShutdown bool   `json:"clean_shutdown"`
		Consistency   string `json:"consistency"`
	} `json:"origin"`
}

// backup has a backup made.
func (b *box) backup(args ...string) archive {
	b.t.Helper()
	code, out := b.command(append([]string{"backup", "create", "--json"}, args...)...)
	var a archive
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&a); err != nil || code != 0 || !a.Verified { // progress may follow it
		b.t.Fatalf("want a verified backup, have %d %s\n%s", code, out, b.logs())
	}
	return a
}

func (b *box) backups() []archive {
	b.t.Helper()
	code, out := b.command("backup", "list", "--json")
	var all []archive
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 {
		b.t.Fatalf("want a list, have %d %s", code, out)
	}
	return all
}

// root is where the container's files are seen from here.
func (b *box) root(path string) string {
	b.t.Helper()
	st, err := b.c.State(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	file := filepath.Join("/proc", fmt.Sprint(st.Pid), "root", path)
	if _, err := os.Stat(file); err != nil {
		b.t.Skipf("the container's files can't be reached from here: %v", err)
	}
	return file
}

// ballast gives the node so many bytes that it never changes.
func (b *box) ballast(bytes int) {
	b.t.Helper()
	text := make([]byte, bytes)
	_, _ = rand.Read(text)
	file := filepath.Join(b.root("/data/data/geth"), "ballast.ldb")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chown(file, 65532, 65532); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) height() float64 { h, _ := b.metric("wemixvisor_node_height"); return h }

// sealing waits for a block of the present node. Until then, in its first moments,
// it does not handle a TERM.
func (b *box) sealing() {
	b.t.Helper()
	b.ready()
	at := b.height()
	b.until("a block", 30*time.Second, func() bool { return b.height() > at })
}

// copied is docker cp of a path, into a folder of ours.
func (b *box) copied(path string) string {
	b.t.Helper()
	to := filepath.Join(b.t.TempDir(), filepath.Base(path))
	if out, err := exec.Command("docker", "cp", b.c.GetContainerID()+":"+path, to).CombinedOutput(); err != nil {
		b.t.Fatalf("docker cp: %v %s", err, out)
	}
	return to
}

// sums returns every file's checksum below dir that is the node's and no secret.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		switch {
		case rel == ".wemixvisor", rel == "keystore", rel == "geth/keystore":
			return fs.SkipDir
		case d.Name() == "LOCK", d.Name() == "FLOCK", d.Name() == "nodekey", d.Name() == "jwtsecret", rel == ".wemixvisor-manifest.json":
		case d.Type().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			all[rel] = fmt.Sprintf("%x", sha256.Sum256(text))
		case d.IsDir():
			all[rel] = "folder"
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// asking asks a probe all the time, until stop, which returns each answer once.
func (b *box) asking(path string) (stop func() map[string]int) {
	url, seen, over := b.url()+path, map[string]int{}, make(chan struct{})
	var worker sync.WaitGroup
	worker.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			code, body := get(b.t, url)
			seen[fmt.Sprint(code, " ", strings.TrimSpace(body))]++
		}
	})
	return func() map[string]int {
		close(over)
		worker.Wait()
		return seen
	}
}

func TestBackupUnderARunningNode(t *testing.T) {
	t.Parallel()
	b := launch(t, image, develop)
	b.ready()
	b.ballast(64 << 20)
	live, ready := b.asking("/livez"), b.asking("/readyz")
	a := b.backup()
	for answer, n := range live() {
		if !strings.HasPrefix(answer, "200 ") {
			t.Errorf("want live all along, have %d times %s", n, answer)
		}
	}
	named := 0
	answers := ready()
	for answer, n := range answers {
		if strings.Contains(answer, "backup in progress") {
			named += n
		}
	}
	if named == 0 {
		t.Errorf("want readiness to name the backup, have %v", answers)
	}
	if a.Origin.Consistency != "stopped" || !a.Origin.CleanShutdown || a.Origin.Height == 0 || len(a.Origin.Hash) != 66 || a.Origin.ChainID != 1337 || len(a.Origin.Binary) != 64 {
		t.Errorf("want its origin told, have %+v", a.Origin)
	}
	b.ready()
	down, ok := b.metric("wemixvisor_backup_downtime_seconds")
	took, _ := b.metric("wemixvisor_backup_duration_seconds")
	if !ok || down <= 0 || down > 5 || took < down {
		t.Errorf("want a short moment, have the node down for %vs of %vs", down, took)
	}
	t.Logf("%d bytes: the node was down for %.0f ms, all took %.0f ms", a.DataBytes, down*1000, took*1000)
	if v, _ := b.metric("wemixvisor_snapshots"); v != 0 {
		t.Errorf("want no snapshot left, have %v", v)
	}
	b.until("blocks go on", 30*time.Second, func() bool { return b.height() > float64(a.Origin.Height) })

	// Of a node that is held down, the archive is what lies on the volume.
	if code, out := b.command("stop"); code != 0 {
		t.Fatalf("stop: %d %s", code, out)
	}
	a = b.backup()
	if code, out := b.command("status", "--json"); code != 0 || !strings.Contains(out, `"state": "stopped"`) || !strings.Contains(out, a.ID) {
		t.Errorf("want it held down, and the backup in the status, have %s", out)
	}
	want := sums(t, b.copied("/data/data"))
	folder, have := b.copied("/data/backups/"+a.ID), t.TempDir()
	if out, err := exec.Command("tar", "--zstd", "-xf", filepath.Join(folder, "data.tar.zst"), "-C", have).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v %s", err, out)
	}
	same(t, want, sums(t, have))
	if code, out := b.command("start"); code != 0 {
		t.Fatalf("start: %d %s", code, out)
	}
	b.ready()
}

func same(t *testing.T, want, have map[string]string) {
	t.Helper()
	for path, sum := range want {
		if have[path] != sum {
			t.Errorf("%s: want %s, have %q", path, sum, have[path])
		}
	}
	for path := range have {
		if _, ok := want[path]; !ok {
			t.Errorf("%s: want none", path)
		}
	}
}

func TestRestoreOverTheLiveVolume(t *testing.T) {
	t.Parallel()
	b := launch(t, image, develop)
	b.ready()
	key, err := os.ReadFile(b.root("/data/data/geth/nodekey"))
	if err != nil {
		t.Fatal(err)
	}
	a := b.backup()
	b.ready()
	b.until("five more blocks", 30*time.Second, func() bool { return b.height() >= float64(a.Origin.Height)+5 })
	if code, out := b.command("backup", "restore", a.ID); code != 0 || !strings.Contains(out, "restored to /data/data") {
		t.Fatalf("restore: %d %s\n%s", code, out, b.logs())
	}
	b.until("the old head", 20*time.Second, func() bool { return b.height() < float64(a.Origin.Height)+5 })
	b.ready()
	b.sealing()
	if now, err := os.ReadFile(b.root("/data/data/geth/nodekey")); err != nil || string(now) != string(key) {
		t.Errorf("want the identity to the byte, have %q %v", now, err)
	}
	if code, out := b.command("backup", "verify"); code != 0 || !strings.Contains(out, "whole") {
		t.Errorf("verify: %d %s", code, out)
	}
	if code := b.stop(); code != 0 {
		t.Errorf("want a clean end, have %d", code)
	}
}

// A node whose key was there at the stop, and is not when the data has gone back, would
// make itself another: it is held down, over a restart too, until the key is back.
func TestNodeIsHeldDownUntilItsKeyIsBack(t *testing.T) {
	t.Parallel()
	b := launch(t, several, develop, holding("old"))
	b.ready()
	identity := b.identity()
	b.schedule("v1.16.9", 0, "new")
	b.becomes("v1.16.9", "done")
	b.runs("v1.16.9")
	b.sealing()
	key, elsewhere := "/data/data/geth/nodekey", "/data/nodekey"
	if err := os.Rename(b.root(key), b.root("/data")+"/nodekey"); err != nil {
		t.Fatal(err)
	}
	held := func(what string, code int, out string) {
		t.Helper()
		if code != 1 || !strings.Contains(out, "geth/nodekey") || !strings.Contains(out, "identity-missing.json") {
			t.Errorf("%s: want exit 1, what is missing and what to do, have %d %s", what, code, out)
		}
		if _, status := b.command("status"); !strings.Contains(status, "stopped") || !strings.Contains(status, "geth/nodekey") {
			t.Errorf("%s: want it stopped and why, have %s", what, status)
		}
		if code, body := b.get("/livez"); code != http.StatusOK {
			t.Errorf("%s: want live, have %d %s", what, code, body)
		}
		if code, body := b.get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "geth/nodekey") {
			t.Errorf("%s: want not ready and why, have %d %s", what, code, body)
		}
	}
	code, out := b.command("rollback", "--data")
	held("rollback", code, out)
	b.root("/data/data/.wemixvisor/identity-missing.json")
	if out, err := exec.Command("docker", "restart", b.c.GetContainerID()).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	b.until("held down again", 20*time.Second, func() bool { _, out := b.command("status"); return strings.Contains(out, "geth/nodekey") })
	code, out = b.command("start")
	held("start", code, out)
	if err := os.Rename(b.root(elsewhere), filepath.Join(b.root("/data/data/geth"), "nodekey")); err != nil {
		t.Fatal(err)
	}
	if code, out := b.command("start"); code != 0 {
		t.Fatalf("want it started when the key is back, have %d %s", code, out)
	}
	b.runs("v1.16.8")
	if have := b.identity(); have != identity {
		t.Errorf("the node became another")
	}
	if _, err := os.Stat(filepath.Join(b.root("/data/data/.wemixvisor"), "identity-missing.json")); !os.IsNotExist(err) {
		t.Errorf("want it forgotten that the key was missing, have %v", err)
	}
}

func TestOnlineBackupOpens(t *testing.T) {
	t.Parallel()
	b := launch(t, image, develop)
	b.ready()
	pid := b.node()
	a := b.backup("--online")
	if a.Origin.Consistency != "frozen" || a.Origin.CleanShutdown {
		t.Errorf("want it marked, have %+v", a.Origin)
	}
	if now := b.node(); now != pid {
		t.Errorf("want node %d left alone, have %d", pid, now)
	}
	if code, out := b.command("backup", "restore", a.ID); code != 0 {
		t.Fatalf("restore: %d %s", code, out)
	}
	b.ready() // it opens; which blocks it has is another matter
}

func TestFreshVolumeIsSeededFromACopiedFolder(t *testing.T) {
	t.Parallel()
	b := launch(t, image, develop)
	b.ready()
	b.until("some blocks", 30*time.Second, func() bool { return b.height() >= 3 })
	a := b.backup()
	folder := b.copied("/data/backups/" + a.ID)
	if out, err := exec.Command("chmod", "-R", "a+rX", folder, filepath.Dir(folder)).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	volume := "wemixvisor-e2e-" + strings.ToLower(a.ID)
	docker := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("docker", args...).CombinedOutput()
		if err != nil { // once it had no right to the volume: whose is it?
			owners, _ := exec.Command("sh", "-c", "ls -lan $(docker volume inspect -f '{{.Mountpoint}}' "+volume+")").CombinedOutput()
			t.Fatalf("docker %s: %v %s\n%s", strings.Join(args, " "), err, out, owners)
		}
		return strings.TrimSpace(string(out))
	}
	docker("volume", "create", volume)
	t.Cleanup(func() { _ = exec.Command("docker", "volume", "rm", "-f", volume).Run() })
	// Through a container that does not run, so that any engine can be fed.
	id := docker("create", "-v", volume+":/data", image, "backup", "restore", "/data/from")
	docker("cp", folder, id+":/data/from")
	docker("start", "-a", id)
	docker("rm", id)
	fresh := launch(t, image, develop, tc.WithHostConfigModifier(func(h *container.HostConfig) { h.Binds = append(h.Binds, volume+":/data") }))
	fresh.ready()
	if h := fresh.height(); h < float64(a.Origin.Height) {
		t.Errorf("want it to go on from height %d, have %v", a.Origin.Height, h)
	}
	t.Cleanup(func() { _ = fresh.c.Terminate(t.Context()) })
	key, _ := os.ReadFile(fresh.root("/data/data/geth/nodekey"))
	if theirs, _ := os.ReadFile(b.root("/data/data/geth/nodekey")); len(key) == 0 || string(key) == string(theirs) {
		t.Errorf("want an identity of its own, have %q of %q", key, theirs)
	}
}

func TestBackupOnAFullDiskLeavesTheNodeAlone(t *testing.T) {
	t.Parallel()
	b := launch(t, image, develop,
		tc.WithEnv(map[string]string{"DAEMON_BACKUP_MIN_FREE": "1MiB", "DAEMON_BACKUP_RATE": "2MiB"}),
		tc.WithHostConfigModifier(func(h *container.HostConfig) {
			h.Tmpfs["/data/backups"] = "size=32m,uid=65532,gid=65532,mode=0755"
		}))
	b.ready()
	b.ballast(64 << 20)
	pid := b.node()
	if code, out := b.command("backup", "create"); code != 6 || !strings.Contains(out, "no space") {
		t.Errorf("want exit 6, have %d %s", code, out)
	}
	if now := b.node(); now != pid {
		t.Errorf("want it found out before the node is stopped")
	}
	// And when somebody else takes the room in the middle of it.
	b.ballast(16 << 20)
	done := make(chan string, 1)
	go func() {
		code, out := b.command("backup", "create")
		done <- fmt.Sprint(code, " ", out)
	}()
	b.until("archiving", 20*time.Second, func() bool { _, out := b.command("status", "--json"); return strings.Contains(out, `"archiving"`) })
	filler := filepath.Join(b.root("/data/backups"), "filler")
	for i := 0; i < 31; i++ {
		if grow(filler, 1<<20) != nil {
			break
		}
	}
	if out := <-done; !strings.HasPrefix(out, "6 ") {
		t.Errorf("want exit 6, have %s", out)
	}
	_ = os.Remove(filler)
	if all := b.backups(); len(all) != 0 {
		t.Errorf("want none listed, have %v", all)
	}
	b.ready()
	if n, _ := b.metric("wemixvisor_backup_failures_total"); n != 2 {
		t.Errorf("want two failures counted, have %v", n)
	}
	b.until("the alert", 20*time.Second, func() bool { v, _ := b.metric(`wemixvisor_alert_firing{alert="backup_failed"}`); return v == 1 })
}

// interrupted begins a backup that takes its time, and returns in the middle.
func interrupted(t *testing.T) *box {
	t.Helper()
	b := launch(t, image, develop, tc.WithEnv(map[string]string{"DAEMON_BACKUP_RATE": "1MiB"}))
	b.ready()
	b.ballast(32 << 20)
	go func() { _, _, _ = b.c.Exec(t.Context(), []string{"wemixvisor", "backup", "create"}) }() // ends with the container
	b.until("archiving", 20*time.Second, func() bool { _, out := b.command("status", "--json"); return strings.Contains(out, `"archiving"`) })
	b.sealing()
	return b
}

// clean looks whether anything was left of the backup that was interrupted.
func (b *box) cleanOfBackups() {
	b.t.Helper()
	if err := b.c.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.ready()
	if all := b.backups(); len(all) != 0 {
		b.t.Errorf("want no backup, have %v", all)
	}
	for _, pattern := range []string{"backups/.making-*", "data/.wemixvisor/snapshots/*", "data/.wemixvisor/incoming/*"} {
		if left, _ := filepath.Glob(filepath.Join(b.root("/data"), pattern)); len(left) != 0 {
			b.t.Errorf("want nothing left, have %v", left)
		}
	}
	if code, body := b.get("/livez"); code != http.StatusOK {
		b.t.Errorf("want live, have %d %s", code, body)
	}
	b.backup()
}

func TestKillInTheMiddleOfABackup(t *testing.T) {
	t.Parallel()
	b := interrupted(t)
	if out, err := exec.Command("docker", "kill", "-s", "KILL", b.c.GetContainerID()).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	b.code()
	b.cleanOfBackups()
}

func TestStopInTheMiddleOfABackup(t *testing.T) {
	t.Parallel()
	b := interrupted(t)
	began := time.Now()
	if code := b.stop(); code != 0 {
		t.Errorf("want a clean end, have %d\n%s", code, b.logs())
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("want nobody to wait for the archive, have %s", took)
	}
	b.cleanOfBackups()
	if logs := b.logs(); strings.Contains(logs, "Unclean shutdown") {
		t.Errorf("want the node stopped cleanly\n%s", logs)
	}
}
