package main

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/reaper"
	"github.com/wemix/wemixvisor/reaper/signals"
)

// execute runs any program as PID 1 should: no home, no restarts.
func execute(ctx context.Context, s *settings, args []string) error {
	debug.SetMemoryLimit(memoryLimit)
	args = passed(args)
	if len(args) == 0 {
		return usageError{errors.New("exec: which program? for example: wemixvisor exec -- PROGRAM [args...]")}
	}
	file, err := reaper.Find(args[0], os.Getenv("PATH"))
	if err != nil {
		return err
	}
	rp := reaper.New()
	defer background(rp.Run)() // last out: it collects what the program leaves behind

	p, err := rp.Start(ctx, reaper.Command{
		Path: file, Args: args, Env: os.Environ(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Terminal: true,
	})
	if err != nil {
		return err
	}
	// Signals since our start have waited in their channel. The first TERM
	// starts the grace.
	grace := make(chan time.Time, 1)
	fw := &supervisor.Forwarder{
		Signals: signals.C,
		Map:     s.signalMap,
		Target:  func() *reaper.Process { return p },
		Keep: func(sig syscall.Signal) bool {
			if sig == syscall.SIGTERM {
				select {
				case grace <- time.Now().Add(s.shutdownGrace):
				default:
				}
			}
			return false
		},
	}
	defer background(fw.Run)()
	forgetStart()

	var deadline time.Time
	select {
	case <-p.Done():
		deadline = time.Now().Add(s.shutdownGrace)
	case deadline = <-grace:
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		select {
		case <-p.Done():
		case <-timer.C:
		}
	}
	rp.Stop(p, deadline)
	reaper.TakeTerminal(os.Stdin)
	if status := p.Exit().Status(); status != 0 {
		return quiet(status)
	}
	return nil
}

// background runs f until the returned function is called, which waits for it.
func background(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // waited for by stop
		defer close(done)
		_ = f(ctx)
	}()
	return func() { cancel(); <-done }
}
