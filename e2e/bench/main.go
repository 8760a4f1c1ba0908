package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

func init() {
	// The kernel ends our namespaces when the thread that started them ends
	// (PR_SET_PDEATHSIG in prctl(2)): all are started from the one thread that
	// lives as long as the process.
	runtime.LockOSThread()
}

func main() {
	born := clock()
	if inNamespace(os.Args[1:], born) {
		return
	}
	supervisor := flag.String("supervisor", "", "path of the init under test; empty: the peers only")
	rounds := flag.Int("rounds", 5, "how often everything is measured")
	node := flag.String("node", "", "path of a geth: measure probes and metrics over it, and compare nothing")
	upgrade := flag.Bool("upgrade", false, "measure upgrades of the node instead")
	backup := flag.Bool("backup", false, "measure archives against tar and zstd, and compare nothing else")
	data := flag.String("data", "", "data directory to archive; empty: a generated one")
	gb := flag.Float64("gb", 1, "its size, times 2^30 bytes")
	markdown := flag.Bool("markdown", false, "print the table as Markdown")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	write := printCells
	if *markdown {
		write = markdownCells
	}
	measure := func() (string, [][]string, error) { return bench(ctx, *supervisor, *rounds) }
	switch {
	case *backup:
		measure = func() (string, [][]string, error) { return benchArchives(ctx, *supervisor, *data, *gb, *rounds) }
	case *upgrade:
		measure = func() (string, [][]string, error) { return benchUpgrades(ctx, *supervisor, *node, *rounds) }
	case *node != "":
		measure = func() (string, [][]string, error) { return benchProbes(ctx, *supervisor, *node) }
	}
	machine, cells, err := measure()
	if err == nil {
		err = write(os.Stdout, machine, cells)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// inNamespace plays the role the arguments name, if they do.
func inNamespace(args []string, born int64) bool {
	if len(args) == 0 {
		return false
	}
	var err error
	switch args[0] {
	case stageRole:
		err = stage(args[1:])
	case childRole:
		err = child(args[1:], born)
	default:
		return false
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	return true
}

// limit bounds a measuring: no wait in it is unbounded, but their sum is large.
func limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, 15*time.Minute, errors.New("not done after 15 minutes"))
}

// program returns the absolute path of a program.
func program(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	return filepath.Abs(path)
}

// bench compares inits.
func bench(ctx context.Context, supervisor string, rounds int) (where string, cells [][]string, err error) {
	ctx, cancel := limit(ctx)
	defer cancel()
	judged := ""
	if supervisor != "" {
		if supervisor, err = program(supervisor); err != nil {
			return "", nil, err
		}
		judged = filepath.Base(supervisor)
	}
	cs := contestants(supervisor)
	for _, peer := range missing(cs) {
		fmt.Fprintf(os.Stderr, "bench: %s is not installed: left out\n", peer)
	}
	if len(inits(cs)) == 0 {
		return "", nil, errors.New("nothing to measure: no peer is installed, and there is no -supervisor")
	}
	t := newTable(cs, judged)
	did, err := full.measure(ctx, t, supervisor, rounds)
	if err != nil {
		if ctx.Err() != nil {
			return "", nil, context.Cause(ctx) // the rest follows from it
		}
		return "", nil, err
	}
	return fmt.Sprintf("%s · rounds: %d", machine(ctx, cs), did), t.cells(), nil
}

// benchProbes measures what seeing the node costs, and how soon it is seen.
func benchProbes(ctx context.Context, supervisor, node string) (where string, cells [][]string, err error) {
	ctx, cancel := limit(ctx)
	defer cancel()
	if supervisor, err = program(supervisor); err != nil {
		return "", nil, err
	}
	if node, err = program(node); err != nil {
		return "", nil, err
	}
	t, err := fullWatch.measure(ctx, supervisor, node)
	if err != nil {
		if ctx.Err() != nil {
			return "", nil, context.Cause(ctx)
		}
		return "", nil, err
	}
	return machine(ctx, nil), t.cells(), nil
}
