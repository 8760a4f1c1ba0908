package main

import (
	"context"
	"errors"
	stdlog "log"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	group "github.com/oklog/run"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/reaper"
)

// startTime is when all parts have long begun.
const startTime = 5 * time.Second

// run is the main job: everything the supervisor is made of, a part each.
//
//	signals ──> forwarder ──> node's process group
//	                │ TERM, INT, QUIT end the group
//	volume ──> supervisor ──> reaper ──> node
//	   │            ^ changes                 │ JSON-RPC
//	   └── queue ──> upgrader <── head ───────┤
//	                │ transitions             │
//	                v                         v
//	   observer, prober <────────────── follower, sampler
//	                │
//	   probe listener, control socket, API
func run(_ context.Context, s *settings, args []string) error {
	debug.SetMemoryLimit(memoryLimit)
	stderr := reaper.NewWriter(os.Stderr)
	defer background(stderr.Run)() // last words after everything else
	p := &parts{s: s, args: passed(args), own: newLog(s, stderr), began: time.Now()}
	p.logger = p.own.logger()
	stdlog.SetOutput(log.NewStdlibAdapter(level.Debug(p.logger))) // libraries must not block us on stderr either
	for _, name := range s.warnings {
		level.Warn(p.logger).Log("msg", "unknown variable; it sets nothing", "name", name)
	}
	if err := p.examine(); err != nil {
		return err
	}

	p.reaper = reaper.New()
	defer background(p.reaper.Run)() // first in, last out: it collects what the parts leave behind

	ctx, quit := context.WithCancel(context.Background())
	defer quit()
	p.quit = quit
	defer p.close()
	if err := p.build(ctx); err != nil {
		return err
	}
	defer background(p.forwarder.Run)() // until the last sweep: a second TERM must find a reader

	var g group.Group
	g.Add(actor(ctx, p.supervise))
	g.Add(actor(ctx, p.follower.Run))
	g.Add(actor(ctx, p.plans))
	g.Add(actor(ctx, p.upgrades))
	g.Add(actor(ctx, p.prober.Run))
	g.Add(actor(ctx, p.sampler.Run))
	g.Add(actor(ctx, enduring(p.logger, "backups", p.keepBackups)))
	// The last moments are worth an alert too, and an alert its delivery.
	g.Add(actor(ctx, p.judge))
	g.Add(actor(ctx, func(ctx context.Context) error { return p.notifier.Run(ctx, p.judged) }))
	// The listeners outlive their context until the node is down: orchestrators
	// and people ask how the stop goes.
	g.Add(actor(ctx, enduring(p.logger, "probe listener", p.serveProbes)))
	g.Add(actor(ctx, enduring(p.logger, "control socket", p.serveSocket)))
	if p.door != nil {
		g.Add(actor(ctx, enduring(p.logger, "API listener", p.servePublic)))
	}
	g.Add(actor(ctx, func(ctx context.Context) error { return p.hub.Run(ctx, p.down) }))
	g.Add(actor(ctx, p.live.run))
	if p.governance != nil {
		g.Add(actor(ctx, p.governance.Run))
	}
	g.Add(actor(ctx, watchCustody(p.logger, p.supervisor, s.dataDir)))
	defer time.AfterFunc(startTime, forgetStart).Stop()
	_ = g.Run()

	return ending(p.outcome, p.supervisor.Status().Last)
}

// ending turns how the supervisor ended into what the program returns: the
// node's own code wherever there is one.
func ending(err error, last *supervisor.Ended) error {
	status := 0
	if last != nil {
		status = last.Exit.Status()
	}
	switch {
	case errors.Is(err, supervisor.ErrLeave): // the node stopped because we wanted it
		return nil
	case err == nil, errors.Is(err, supervisor.ErrEnded):
	case errors.Is(err, supervisor.ErrCrashLoop):
		return exit{err, max(status, exitFailed)}
	case errors.Is(err, context.Canceled): // told to stop before the node ever ran
		return nil
	default:
		return err
	}
	if status != 0 {
		return quiet(status)
	}
	return nil
}

// keep takes the signals that are for us.
func keep(ctx context.Context, quit, reload func(), logger log.Logger) func(syscall.Signal) bool {
	return func(sig syscall.Signal) bool {
		switch sig {
		case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
			if ctx.Err() != nil {
				level.Info(logger).Log("msg", "already stopping; the node is not told twice", "signal", supervisor.SignalName(sig))
			}
			quit()
		case syscall.SIGHUP: // it kills these nodes uncleanly
			reload()
		case syscall.SIGPIPE: // our own sockets raise it when a client leaves; it ends many a node
		default:
			return false
		}
		return true
	}
}
