package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// contestant is an init under test: a program that takes another one.
type contestant struct {
	name string
	argv []string // what stands before the child; empty: the child is PID 1 itself
}

// bare is the child without an init, yardname the peer that sets the measure.
var (
	bare  = contestant{name: "no init"}
	peers = []string{yardname, "dumb-init", "catatonit"}
)

const yardname = "tini"

// contestants returns who takes part: the installed peers, and the supervisor
// when there is a path to it.
func contestants(supervisor string) []contestant {
	all := []contestant{bare}
	for _, peer := range peers {
		if path, err := exec.LookPath(peer); err == nil {
			all = append(all, contestant{peer, []string{path, "--"}})
		}
	}
	if supervisor != "" {
		all = append(all, contestant{filepath.Base(supervisor), []string{supervisor, "exec", "--"}})
	}
	return all
}

// inits returns cs without the bare child.
func inits(cs []contestant) []contestant {
	return slices.DeleteFunc(slices.Clone(cs), func(c contestant) bool { return len(c.argv) == 0 })
}

// rotated returns cs starting with the nth.
func rotated(cs []contestant, n int) []contestant {
	if len(cs) == 0 {
		return nil
	}
	n %= len(cs)
	return append(slices.Clone(cs[n:]), cs[:n]...)
}

// release finds a release number, and not that of Go in "go1.26".
var release = regexp.MustCompile(`(?:^|[ v])(\d+(?:\.\d+)+)`)

// version asks an init for its version. dumb-init answers on standard error.
func (c contestant) version(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, arg := range []string{"--version", "version"} {
		out, _ := exec.CommandContext(ctx, c.argv[0], arg).CombinedOutput()
		if found := release.FindSubmatch(out); found != nil {
			return string(found[1])
		}
	}
	return "unreleased"
}

// missing returns the peers that are not among cs.
func missing(cs []contestant) []string {
	var names []string
	for _, peer := range peers {
		if !slices.ContainsFunc(cs, func(c contestant) bool { return c.name == peer }) {
			names = append(names, peer)
		}
	}
	return names
}
