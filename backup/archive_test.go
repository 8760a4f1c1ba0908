package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// picture says all that a round trip has to keep: find's view, and each file's
// sha256.
func picture(t testing.TB, dir string) string {
	t.Helper()
	cmd := exec.Command("find", ".", "(", "-type", "d", "-printf", `%P %y %m %U %G %T@\0`, ")", "-o", "-printf", `%P %y %m %U %G %T@ %s %n %l\0`)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("find: %v", err)
	}
	lines := strings.Split(string(out), "\x00")
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%s %x", p[len(dir):], h.Sum(nil)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sortedLines(lines)
}

func sortedLines(lines []string) string {
	quoted := make([]string, len(lines))
	for i, l := range lines {
		quoted[i] = fmt.Sprintf("%q", l)
	}
	slices.Sort(quoted)
	return strings.Join(quoted, "\n")
}

// samePicture fails the test with the lines in which two pictures differ.
func samePicture(t testing.TB, want, have string) {
	t.Helper()
	if want == have {
		return
	}
	in := func(s, in string) (out []string) {
		for l := range strings.SplitSeq(s, "\n") {
			if !strings.Contains("\n"+in+"\n", "\n"+l+"\n") {
				out = append(out, l)
			}
		}
		return out
	}
	t.Fatalf("not the same:\nwant %s\nhave %s", strings.Join(in(want, have), "\n     "), strings.Join(in(have, want), "\n     "))
}

// chainData returns n bytes that compress by half, as a table of a chain's
// database does.
func chainData(seed int64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = r.Read(b)
	for i := 32; i < n; i += 64 {
		copy(b[i:], "account00000042:balance=00000001")
	}
	return b
}

// oddTree makes a data directory with all that is awkward in one.
func oddTree(t testing.TB) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "data")
	for name, content := range map[string]string{
		"geth/chaindata/000001.sst":      string(chainData(1, 5<<20)),
		"geth/chaindata/000002.sst":      string(chainData(2, 2<<20+17)),
		"geth/chaindata/CURRENT":         "MANIFEST-000001\n",
		"geth/chaindata/MANIFEST-000001": "m",
		"geth/chaindata/empty":           "",
		"geth/chaindata-b":               "sorts between chaindata and what is in it",
		"a name with spaces":             "a",
		"a\nnewline\ttab":                "b",
		"not utf-8 \xff\xfe":             "c",
		"100%":                           "d",
		"ünï/\xc3\x28/x":                 "e",
		strings.Repeat("n", 255):         "f",
		strings.Repeat("d", 255) + "/" + strings.Repeat("e", 255) + "/" + strings.Repeat("f", 200): "g",
		"geth/private":      "0600",
		"geth/setuid":       "s",
		"exactly/512":       strings.Repeat("x", 512),
		"exactly/4194304":   string(chainData(3, 4<<20)),
		"read-only/inside":  "r",
		"geth/LOCK":         "",
		"geth/nodekey":      "the key",
		"keystore/UTC--aa":  "an account",
		"upgrade-info.json": "{}",
	} {
		write(t, filepath.Join(root, name), content)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(root, name) }
	must(os.MkdirAll(at("empty/inner"), 0o711))
	must(os.Symlink("chaindata/CURRENT", at("geth/link")))
	must(os.Symlink("nowhere", at("dangling \xfe")))
	must(os.Symlink("../geth", at("exactly/up")))
	must(os.Link(at("geth/chaindata/000001.sst"), at("geth/hard.sst")))
	must(os.Link(at("100%"), at("geth/zz")))
	must(os.Chmod(at("geth/private"), 0o600))
	must(os.Chmod(at("geth/setuid"), 0o755|fs.ModeSetuid))
	must(os.Chmod(at("empty"), 0o777|fs.ModeSticky))
	sparse, err := os.Create(at("sparse"))
	must(err)
	must(sparse.Truncate(24 << 20))
	_, err = sparse.WriteAt([]byte("in the middle"), 13<<20)
	must(err)
	must(sparse.Close())
	if os.Geteuid() == 0 {
		must(os.Lchown(at("geth/private"), 1234, 4321))
		must(os.Lchown(at("geth/link"), 1234, 4321))
		must(os.Lchown(at("empty"), 3_000_000, 3_000_001))
	}
	must(os.Chmod(at("read-only"), 0o555))
	t.Cleanup(func() { os.Chmod(at("read-only"), 0o755) })
	old := time.Date(2020, 1, 2, 3, 4, 5, 123456789, time.UTC)
	must(os.Chtimes(at("geth/chaindata/CURRENT"), old, old))
	must(os.Chtimes(at("exactly"), old, old))
	must(os.Chmod(root, 0o750))
	must(os.Chtimes(root, old, old))
	return root
}

func newRepo(t testing.TB) *Repo {
	t.Helper()
	return NewRepo(RepoConfig{Dir: filepath.Join(t.TempDir(), "backups"), Program: "v1.2.3", Floor: noFloor})
}

func create(t testing.TB, r *Repo, root string, o CreateOptions) Info {
	t.Helper()
	info, err := r.Create(context.Background(), Source{Tree: Tree{Root: root}}, o)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func extract(t testing.TB, r *Repo, id string, o ExtractOptions) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "to")
	if _, err := r.Extract(context.Background(), id, to, o); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestRoundTripIsIdentical(t *testing.T) {
	t.Parallel()
	root := oddTree(t)
	if err := os.Remove(filepath.Join(root, "geth/LOCK")); err != nil {
		t.Fatal(err)
	}
	want := picture(t, root)
	r := newRepo(t)
	info := create(t, r, root, CreateOptions{IncludeSecrets: true, Reason: "manual"})
	samePicture(t, want, picture(t, root)) // the source is as it was
	to := extract(t, r, info.ID, ExtractOptions{Secrets: true})
	samePicture(t, secretModes(want), picture(t, to))

	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(to, "sparse"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Blocks*512 > 1<<20 {
		t.Errorf("the sparse file takes %d bytes", st.Blocks*512)
	}
}

// secretModes are those of a picture after an archive: no more than 0600.
func secretModes(p string) string {
	var lines []string
	for l := range strings.SplitSeq(p, "\n") {
		for _, secret := range []string{`"geth/nodekey f `, `"keystore/UTC--aa f `, `"upgrade-info.json f `} {
			if strings.HasPrefix(l, secret+"644") {
				l = secret + "600" + l[len(secret)+3:]
			}
		}
		lines = append(lines, l)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestPlainTarRestoresAnArchive(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"tar", "zstd"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("no " + tool)
		}
	}
	root := oddTree(t)
	if err := os.Remove(filepath.Join(root, "geth/LOCK")); err != nil {
		t.Fatal(err)
	}
	r := newRepo(t)
	info := create(t, r, root, CreateOptions{IncludeSecrets: true})
	archive := filepath.Join(r.cfg.Dir, info.ID, dataFile)
	if out, err := exec.Command("zstd", "-t", archive).CombinedOutput(); err != nil {
		t.Fatalf("zstd -t: %v: %s", err, out)
	}
	want := picture(t, root)
	for _, locale := range []string{"C", "C.UTF-8"} {
		to := t.TempDir()
		tar := exec.Command("tar", "--zstd", "-xpf", archive)
		tar.Dir, tar.Env = to, append(os.Environ(), "LC_ALL="+locale)
		if out, err := tar.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("tar: %v: %s", err, out)
		}
		manifest, err := os.ReadFile(filepath.Join(to, manifestMember))
		if err != nil {
			t.Fatal(err)
		}
		beside, err := exec.Command("zstd", "-dc", filepath.Join(r.cfg.Dir, info.ID, manifestFile)).Output()
		if err != nil || !bytes.Equal(manifest, beside) {
			t.Errorf("the manifest in the archive is not the one beside it: %v", err)
		}
		if err := os.Remove(filepath.Join(to, manifestMember)); err != nil {
			t.Fatal(err)
		}
		old := time.Date(2020, 1, 2, 3, 4, 5, 123456789, time.UTC)
		if err := os.Chtimes(to, old, old); err != nil { // we removed an entry
			t.Fatal(err)
		}
		samePicture(t, secretModes(want), picture(t, to))
		os.Chmod(filepath.Join(to, "read-only"), 0o755)
	}
}

func TestSecretsStayOutUnlessAsked(t *testing.T) {
	t.Parallel()
	root := oddTree(t)
	r := newRepo(t)
	info := create(t, r, root, CreateOptions{})
	left := map[string]bool{}
	for _, e := range info.Excluded {
		left[e.Path] = true
	}
	if info.Secrets || !left["geth/nodekey"] || !left["keystore"] || left["keystore/UTC--aa"] || !left["upgrade-info.json"] || !left["geth/LOCK"] {
		t.Errorf("want the identity reported, have %+v", info.Excluded)
	}
	to := extract(t, r, info.ID, ExtractOptions{Secrets: true})
	for _, secret := range []string{"geth/nodekey", "keystore", "upgrade-info.json", "geth/LOCK"} {
		if exists(filepath.Join(to, secret)) {
			t.Errorf("%s is in the archive", secret)
		}
	}

	info = create(t, r, root, CreateOptions{IncludeSecrets: true})
	if !info.Secrets {
		t.Error("the archive has secrets and does not say so")
	}
	to = extract(t, r, info.ID, ExtractOptions{})
	for _, secret := range []string{"geth/nodekey", "keystore", "upgrade-info.json"} {
		if exists(filepath.Join(to, secret)) {
			t.Errorf("%s is restored though nobody asked", secret)
		}
	}
	to = extract(t, r, info.ID, ExtractOptions{Secrets: true})
	if fi, err := os.Stat(filepath.Join(to, "geth/nodekey")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("want nodekey with 0600, have %v, %v", fi, err)
	}
}

// A snapshot's mirror tree has no identity; that comes from the live folder, in
// its place in the order.
func TestSecretsComeFromTheLiveFolder(t *testing.T) {
	t.Parallel()
	live, mirror := t.TempDir(), t.TempDir()
	for _, name := range []string{"a/b/nodekey", "geth/nodekey", "keystore/x", "z/etcd/y/wal"} {
		write(t, filepath.Join(live, name), name)
	}
	for _, name := range []string{"geth/chaindata/1.sst", "m", "z/z"} {
		write(t, filepath.Join(live, name), name)
		write(t, filepath.Join(mirror, name), name)
	}
	r := newRepo(t)
	src := Source{Tree: Tree{Root: mirror}, Live: live}
	info, err := r.Create(context.Background(), src, CreateOptions{IncludeSecrets: true})
	if err != nil {
		t.Fatal(err)
	}
	to := extract(t, r, info.ID, ExtractOptions{Secrets: true})
	for _, name := range []string{"a/b/nodekey", "geth/nodekey", "keystore/x", "z/etcd/y/wal", "geth/chaindata/1.sst", "m", "z/z"} {
		if text, _ := os.ReadFile(filepath.Join(to, name)); string(text) != name {
			t.Errorf("%s: have %q", name, text)
		}
	}
	if info, err = r.Create(context.Background(), src, CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(info.Excluded) != 4 {
		t.Errorf("want 4 secrets reported, have %+v", info.Excluded)
	}
}

func TestCancelLeavesNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "1.sst"), string(chainData(1, 20<<20)))
	r := newRepo(t)
	for _, verify := range []bool{false, true} {
		ctx, cancel := context.WithCancel(context.Background())
		at := func(p Progress) {
			if p.Done > p.Total/2 {
				cancel()
			}
		}
		o := CreateOptions{OnProgress: at}
		if verify {
			o = CreateOptions{OnVerify: at}
		}
		if _, err := r.Create(ctx, Source{Tree: Tree{Root: root}}, o); !errors.Is(err, context.Canceled) {
			t.Fatalf("want it cancelled, have %v", err)
		}
		names, err := os.ReadDir(r.cfg.Dir)
		if err != nil || len(names) != 1 || names[0].Name() != lockFile {
			t.Errorf("want the lock alone, have %v, %v", names, err)
		}
	}
}
