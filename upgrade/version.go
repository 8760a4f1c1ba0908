package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wemix/wemixvisor/reaper"
)

// versionTime is how long a binary may take to say its version.
const versionTime = 10 * time.Second

// ErrVersion says that a binary does not tell its version: whatever it is, it
// does not behave like a node.
var ErrVersion = errors.New("tells no version")

// version asks a binary for its version, in each of the ways that nodes have,
// within limit.
func version(ctx context.Context, rp *reaper.Reaper, file string, env []string, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: it hangs; killed after %s", ErrVersion, limit))
	defer cancel()
	var first error
	for _, arg := range []string{"version", "--version", "-v"} {
		text, exit, err := rp.Output(ctx, reaper.Command{
			Path: file, Args: []string{filepath.Base(file), arg}, Env: env, Dir: os.TempDir(), Bound: true,
		}, 64<<10)
		if err != nil {
			if first != nil && ctx.Err() == nil {
				return "", first
			}
			return "", fmt.Errorf("%s %s: %w", filepath.Base(file), arg, err)
		}
		if exit.Status() == 0 {
			return parseVersion(string(text)), nil
		}
		if first == nil {
			first = fmt.Errorf("%w: %s %s ended with %s: %s", ErrVersion, filepath.Base(file), arg, exit, lastLine(string(text)))
		}
	}
	return "", first
}

// parseVersion takes the line Version: of the geth family, else the first word
// with a digit that follows a word, as in "reth 1.2.3", else the first line.
func parseVersion(text string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, "Version:"); ok {
			return clip(strings.TrimSpace(v))
		}
	}
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	for _, word := range strings.Fields(first) {
		if _, ok := numbers(word); ok {
			return clip(word)
		}
	}
	return clip(first)
}

func clip(text string) string {
	text = strings.ToValidUTF8(strings.TrimSpace(text), "?")
	if len(text) > 100 {
		text = strings.ToValidUTF8(text[:100], "")
	}
	return text
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return clip(lines[len(lines)-1])
}

// compareVersions orders two versions as semver.org does, less strictly: any
// number of numbers, with or without a v before and a qualifier behind. A
// qualifier that names a release in the making comes before the release, the
// others say nothing. ok is false when the two cannot be compared.
func compareVersions(a, b string) (order int, ok bool) {
	x, okx := numbers(a)
	y, oky := numbers(b)
	if !okx || !oky {
		return 0, false
	}
	for i := range max(len(x.n), len(y.n)) {
		if d := x.at(i) - y.at(i); d != 0 {
			return sign(d), true
		}
	}
	switch {
	case x.pre == y.pre && (x.pre == "" || x.preN == y.preN):
		return 0, true
	case x.pre == y.pre:
		return sign(x.preN - y.preN), true
	case x.pre == "":
		return 1, true
	case y.pre == "":
		return -1, true
	}
	return strings.Compare(x.pre, y.pre), true // alpha, beta, rc
}

type parts struct {
	n    []int
	pre  string // alpha, beta, rc
	preN int
}

func (p parts) at(i int) int {
	if i < len(p.n) {
		return p.n[i]
	}
	return 0
}

func numbers(text string) (p parts, ok bool) {
	text = strings.TrimPrefix(strings.TrimPrefix(text, "v"), "V")
	text, _, _ = strings.Cut(text, "+")
	text, rest, _ := strings.Cut(text, "-")
	if !strings.Contains(text, ".") {
		return parts{}, false
	}
	for _, field := range strings.Split(text, ".") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 0 || len(field) > 9 {
			return parts{}, false
		}
		p.n = append(p.n, n)
	}
	rest = strings.ToLower(rest)
	for _, pre := range []string{"alpha", "beta", "rc", "unstable"} {
		if tail, found := strings.CutPrefix(rest, pre); found {
			p.pre = strings.Replace(pre, "unstable", "alpha", 1)
			tail = strings.TrimLeft(tail, ".-")
			end := strings.IndexFunc(tail, func(r rune) bool { return r < '0' || r > '9' })
			if end < 0 {
				end = len(tail)
			}
			p.preN, _ = strconv.Atoi(tail[:end])
		}
	}
	return p, true
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}
