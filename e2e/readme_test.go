//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// block is one fenced block of the README. Behind the fence stand its language
// and a word: the file it is, or elsewhere, where it cannot run here.
type block struct {
	line           int
	language, word string
	text           string
}

// elsewhere marks commands that need another machine, a cluster, or these tests
// themselves.
const elsewhere = "elsewhere"

func readmeBlocks(t *testing.T) []block {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	for _, m := range regexp.MustCompile("(?ms)^```(\\w*)(?: (\\S+))?\n(.*?)^```$").FindAllSubmatchIndex(text, -1) {
		part := func(n int) string {
			if m[2*n] < 0 {
				return ""
			}
			return string(text[m[2*n]:m[2*n+1]])
		}
		all = append(all, block{strings.Count(string(text[:m[0]]), "\n") + 1, part(1), part(2), part(3)})
	}
	if fences := strings.Count("\n"+string(text), "\n```"); fences != 2*len(all) {
		t.Fatalf("want every fence understood, have %d fences and %d blocks", fences, len(all))
	}
	return all
}

// before brings up what a namespace of its own lacks, and the older name of compose.
const before = `ip link set lo up
command -v docker-compose >/dev/null || alias docker-compose='docker compose'
`

// TestReadmeRuns runs the README's commands as one who reads it from top to
// bottom: one shell, a folder of its own, ports of its own, a real geth.
func TestReadmeRuns(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for namespaces of its own")
	}
	t.Parallel()
	var script strings.Builder
	ran, left := 0, 0
	for _, b := range readmeBlocks(t) {
		switch {
		case b.language == "sh" && b.word == "":
			fmt.Fprintf(&script, "echo '=== README.md:%d' >&2\n%s", b.line, b.text)
			ran++
		case b.language == "sh" && b.word == elsewhere:
			if out, err := exec.Command("sh", "-n", "-c", b.text).CombinedOutput(); err != nil {
				t.Errorf("README.md:%d is no shell: %v %s", b.line, err, out)
			}
			left++
		case b.word != "":
			fmt.Fprintf(&script, "mkdir -p \"$(dirname %s)\"\ncat > %[1]s <<'END OF %[1]s'\n%[2]sEND OF %[1]s\n", b.word, b.text)
			if b.language != "json" {
				break
			}
			fallthrough
		case b.language == "json":
			if !json.Valid([]byte(b.text)) {
				t.Errorf("README.md:%d is no JSON", b.line)
			}
		case b.language == "", b.language == "solidity": // pictures, and what others write
		default:
			t.Errorf("README.md:%d: who tests blocks of %s?", b.line, b.language)
		}
	}
	if ran < 10 || left > 3 {
		t.Errorf("want most blocks to run, have %d that do and %d that do not", ran, left)
	}

	project := "wemixvisor-e2e-readme-" + strconv.Itoa(os.Getpid())
	t.Cleanup(func() { tidy(t, project) })
	file := filepath.Join(t.TempDir(), "readme.sh")
	if err := os.WriteFile(file, []byte(before+script.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	// The ports it names may be somebody's here, and a node that it leaves behind
	// when it fails must end with it.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // its loops have no end of their own
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-eu", file)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "COMPOSE_PROJECT_NAME="+project, "TMPDIR="+t.TempDir(), "MAKEFLAGS=", "MAKELEVEL=")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		at := regexp.MustCompile(`=== (README.md:\d+)`).FindAllSubmatch(out, -1)
		if at == nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Fatalf("%s fails: %v\n%s", at[len(at)-1][1], err, out)
	}
	t.Logf("%d blocks, and %d that are only parsed\n%s", ran, left, out)
}

// tidy removes what compose made of a project.
func tidy(t *testing.T, project string) {
	for kind, how := range map[string]string{"container": "rm -fv", "volume": "rm", "network": "rm"} {
		list := fmt.Sprintf("docker %s ls -q --filter label=com.docker.compose.project=%s", kind, project)
		if kind == "container" {
			list += " -a"
		}
		if out, err := exec.Command("sh", "-c", fmt.Sprintf("%s | xargs -r docker %s %s", list, kind, how)).CombinedOutput(); err != nil {
			t.Errorf("%v %s", err, out)
		}
	}
	_ = exec.Command("docker", "image", "rm", project+"_node").Run()
	_ = exec.Command("docker", "image", "rm", project+"-node").Run()
}

// TestReadmesImageForADynamicNode builds the README's image on a base with a C
// library. No image is pulled here: this machine's own loader and libraries stand
// in for the base.
func TestReadmesImageForADynamicNode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	node := filepath.Join(dir, "gwemix")
	build := exec.Command("go", "build", "-o", node, "./badnode")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("no C compiler makes a dynamic node: %v %s", err, out)
	}
	libraries, err := exec.Command("ldd", node).Output()
	if err != nil {
		t.Fatalf("want a dynamic node: %v %s", err, libraries)
	}
	files := regexp.MustCompile(`/\S+`).FindAllString(string(libraries), -1)
	name := "wemixvisor-e2e-dynamic-" + strconv.Itoa(os.Getpid())
	t.Cleanup(func() { _ = exec.Command("docker", "image", "rm", name, name+"-base").Run() })
	base := exec.Command("sh", "-c", `tar -ch "$@" | docker import - `+name+"-base", "sh")
	base.Args = append(base.Args, files...)
	if out, err := base.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}

	for _, b := range readmeBlocks(t) {
		if b.word != "image/Dockerfile.debian" {
			continue
		}
		text := strings.Replace(b.text, "FROM debian:stable-slim\n", "FROM "+name+"-base\n", 1)
		if text == b.text {
			t.Fatalf("want debian:stable-slim for a base, have\n%s", text)
		}
		if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("docker", "build", "-t", name, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	for args, want := range map[string]string{
		"exec wemixd version": "9.9.9",
		"init":                "/data is laid out", // its user may write there
	} {
		cmd := exec.Command("docker", append([]string{"run", "--rm", "--read-only", "--cap-drop=ALL", "-v", "/data", name}, strings.Fields(args)...)...)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: want %q, have %v %s", args, want, err, out)
		}
	}
}
