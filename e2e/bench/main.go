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
	markdown := flag.Bool("markdown", false, "print the table as Markdown")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	if err := bench(ctx, *supervisor, *rounds, *markdown); err != nil {
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

func bench(ctx context.Context, supervisor string, rounds int, markdown bool) error {
	// No wait below is unbounded, but their sum is large.
	ctx, cancel := context.WithTimeoutCause(ctx, 15*time.Minute, errors.New("not done after 15 minutes"))
	defer cancel()
	judged := ""
	if supervisor != "" {
		path, err := exec.LookPath(supervisor)
		if err != nil {
			return fmt.Errorf("find the supervisor: %w", err)
		}
		if supervisor, err = filepath.Abs(path); err != nil {
			return err
		}
		judged = filepath.Base(supervisor)
	}
	cs := contestants(supervisor)
	for _, peer := range missing(cs) {
		fmt.Fprintf(os.Stderr, "bench: %s is not installed: left out\n", peer)
	}
	if len(inits(cs)) == 0 {
		return errors.New("nothing to measure: no peer is installed, and there is no -supervisor")
	}
	t := newTable(cs, judged)
	did, err := full.measure(ctx, t, supervisor, rounds)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx) // the rest follows from it
		}
		return err
	}
	t.machine = fmt.Sprintf("%s · rounds: %d", machine(ctx, cs), did)
	if markdown {
		return t.markdown(os.Stdout)
	}
	return t.print(os.Stdout)
}
