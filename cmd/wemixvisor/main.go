// Command wemixvisor is the init for blockchain nodes in containers: as PID 1
// it reaps zombies, forwards signals, keeps the node running and tells
// orchestrators how it is doing. Run it with -h for its manual.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/wemix/wemixvisor/backup"
	"github.com/wemix/wemixvisor/cmd/internal/api"
	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/reaper"
	"github.com/wemix/wemixvisor/reaper/signals"
	"github.com/wemix/wemixvisor/upgrade"
	"github.com/wemix/wemixvisor/upgrade/fetch"
)

// Exit codes, beside the node's own.
const (
	exitFailed        = 1
	exitUsage         = 2
	exitNotRunning    = 3
	exitBusy          = 4
	exitCorrupt       = 5
	exitNoSpace       = 6
	exitNotExecutable = 126
	exitNotFound      = 127
)

// usageError is a mistake in what we were told: exit 2.
type usageError struct{ error }

// quiet ends the program with a code and without a word: the node's own end
// was logged, or the answer was printed.
type quiet int

func (q quiet) Error() string { return fmt.Sprintf("exit status %d", int(q)) }

// exit ends the program with a code of the node's and a word of ours.
type exit struct {
	error
	code int
}

func main() { os.Exit(program(os.Args[1:])) }

// program runs one command and returns the exit code.
func program(args []string) int {
	err := dispatch(args)
	if err == nil {
		return 0
	}
	var q quiet
	if errors.As(err, &q) {
		return int(q)
	}
	reaper.Quietly(func() {
		_ = reaper.Write(os.Stderr, []byte("wemixvisor: "+strings.ReplaceAll(err.Error(), "\n", "; ")+"\n"))
	})
	return exitCode(err)
}

func dispatch(args []string) error {
	s, rest, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return help("")
	}
	if err != nil && (len(rest) == 0 || rest[0] != "config") { // which mends what is wrong
		return err
	}
	if len(rest) == 0 {
		return usageError{errors.New("which command? see: wemixvisor -h")}
	}
	if rest[0] == "help" {
		return help(strings.Join(rest[1:], " "))
	}
	for _, c := range commands() {
		if c.name != rest[0] {
			continue
		}
		if !c.passes && len(rest) == 2 && slices.Contains([]string{"-h", "--help", "help"}, rest[1]) {
			return help(c.name)
		}
		ctx := context.Background()
		if !c.init {
			signals.Default()
			var release func()
			ctx, release = signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
			defer release()
		}
		return c.do(ctx, s, rest[1:])
	}
	return usageError{fmt.Errorf("unknown command %q; see: wemixvisor -h", rest[0])}
}

// exitCode maps what went wrong to what a caller may branch on.
func exitCode(err error) int {
	var usage usageError
	var own exit
	switch {
	case errors.As(err, &own):
		return own.code
	case errors.As(err, &usage), errors.Is(err, upgrade.ErrPlan), errors.Is(err, upgrade.ErrPast), errors.Is(err, fetch.ErrInvalid):
		return exitUsage
	case errors.Is(err, api.ErrNotRunning):
		return exitNotRunning
	case errors.Is(err, upgrade.ErrOtherBinary):
		return exitUsage
	case errors.Is(err, backup.ErrCorrupt), errors.Is(err, backup.ErrFormat), errors.Is(err, fetch.ErrChecksum), errors.Is(err, fetch.ErrArchive):
		return exitCorrupt
	case errors.Is(err, backup.ErrNoSpace):
		return exitNoSpace
	case errors.Is(err, supervisor.ErrBusy), errors.Is(err, supervisor.ErrRunning), errors.Is(err, upgrade.ErrLocked),
		errors.Is(err, backup.ErrBusy), errors.Is(err, backup.ErrInUse), errors.Is(err, fetch.ErrBusy):
		return exitBusy
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return exitNoSpace
	case errors.Is(err, reaper.ErrNotExecutable):
		return exitNotExecutable
	case errors.Is(err, reaper.ErrNotFound):
		return exitNotFound
	}
	return exitFailed
}

// flags parses the flags of a command, which may stand before, between and
// behind its arguments, and returns the arguments.
func flags(set *flag.FlagSet, args []string) ([]string, error) {
	set.SetOutput(discard{})
	var rest []string
	for {
		if err := set.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, errors.Join(help(set.Name()), quiet(0))
			}
			return nil, usageError{fmt.Errorf("%s: %w", set.Name(), err)}
		}
		if set.NArg() == 0 {
			return rest, nil
		}
		if n := len(args) - set.NArg(); n > 0 && args[n-1] == "--" {
			return append(rest, set.Args()...), nil
		}
		rest = append(rest, set.Arg(0))
		args = set.Args()[1:]
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// none refuses arguments a command does not take.
func none(name string, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument such as %q; see: wemixvisor -h", name, args[0])}
	}
	return nil
}

// passed drops one leading --: everything else belongs to the node.
func passed(args []string) []string {
	if len(args) > 0 && args[0] == "--" {
		return args[1:]
	}
	return args
}
