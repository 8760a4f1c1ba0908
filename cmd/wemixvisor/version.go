package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/reaper"
	"github.com/wemix/wemixvisor/upgrade"
)

// Set by the linker.
var (
	version = "dev"
	commit  = "unknown"
)

func ownVersion() api.Version {
	return api.Version{Version: version, Commit: commit, Go: runtime.Version()}
}

func printVersion(ctx context.Context, s *settings, args []string) error {
	raw, err := only("version", args)
	if err != nil {
		return err
	}
	node := nodeVersion(ctx, s)
	if raw {
		return printJSON(struct {
			api.Version
			Node string `json:"node"`
		}{ownVersion(), node})
	}
	fmt.Printf("wemixvisor %s, commit %s, %s\n", version, commit, runtime.Version())
	if node != "" {
		fmt.Printf("node %s\n", node)
	}
	return nil
}

// nodeVersion asks the current node binary for its version; empty when there
// is none, or it does not say in time.
func nodeVersion(ctx context.Context, s *settings) string {
	file, err := upgrade.Home{Root: s.home, Name: s.name}.Program()
	if err != nil {
		return ""
	}
	rp := reaper.New()
	defer background(rp.Run)()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	text, exit, err := rp.Output(ctx, reaper.Command{Path: file, Args: []string{s.name, "version"}, Env: os.Environ()}, 64<<10)
	if err != nil || exit.Status() != 0 {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "Version:"); ok {
			return strings.TrimSpace(v)
		}
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(first)
}
