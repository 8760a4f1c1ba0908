package backup

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The test re-runs itself as a user who is not root, for whom the kernel has
// the rule. What it says is compared with what link(2) does.
func TestUnlinkableFilesAreThoseThatLinkRefuses(t *testing.T) {
	if dir := os.Getenv("UNLINKABLE_DIR"); dir != "" {
		refused := 0
		for _, name := range []string{"ours", "theirs", "theirs-writable"} {
			if err := os.Link(filepath.Join(dir, name), filepath.Join(dir, "new", name)); err != nil {
				refused++
			}
		}
		have, err := FindUnlinkable(t.Context(), dir)
		if err != nil || have.Files != refused || have.Looked < 3 {
			t.Fatalf("want %d files as link(2) has it, have %+v, %v", refused, have, err)
		}
		if refused == 1 && (have.Example != filepath.Join(dir, "theirs") || have.Bytes != 6) {
			t.Fatalf("want the one that is theirs, have %+v", have)
		}
		done, cancel := context.WithCancel(t.Context())
		cancel()
		if have, _ := FindUnlinkable(done, dir); have.Looked != 0 {
			t.Errorf("want the end of the time obeyed, have %+v", have)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to own files as two users")
	}
	dir := t.TempDir()
	for d := dir; d != filepath.Dir(d) && strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"ours": 0o600, "theirs": 0o644, "theirs-writable": 0o666} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("sealed"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "new"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ours", "new"} {
		if err := os.Chown(filepath.Join(dir, name), 65532, 65532); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again")
	if err := os.WriteFile(again, self, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(again), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(again, "-test.run=^"+t.Name()+"$")
	cmd.Dir = filepath.Dir(again)
	cmd.Env = append(os.Environ(), "UNLINKABLE_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("as another user: %v\n%s", err, out)
	}
}
