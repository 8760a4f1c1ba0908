package main

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	group "github.com/oklog/run"
	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/probe/chain"
	"github.com/wemix/wemixvisor/reaper"
	"github.com/wemix/wemixvisor/reaper/signals"
	"github.com/wemix/wemixvisor/upgrade"
)

// run is the main job: everything the supervisor is made of, a part each.
//
//	signals ──> forwarder ──> node's process group
//	                │ TERM, INT, QUIT end the group
//	volume ──> supervisor ──> reaper ──> node
//	                │ transitions             │ JSON-RPC
//	                v                         v
//	   observer, prober <────────────── follower, sampler
//	                │
//	   probe listener, control socket
func run(_ context.Context, s *settings, args []string) error {
	args = passed(args)
	debug.SetMemoryLimit(memoryLimit)
	stderr := reaper.NewWriter(os.Stderr)
	defer background(stderr.Run)() // last words after everything else
	logger := newLogger(s, stderr)
	stdlog.SetOutput(log.NewStdlibAdapter(level.Debug(logger))) // libraries must not block us on stderr either
	for _, name := range s.warnings {
		level.Warn(logger).Log("msg", "unknown variable; it sets nothing", "name", name)
	}

	// What cannot work is said before anything is written or opened.
	home := upgrade.Home{Root: s.home, Name: s.name}
	image, err := bundled(s, nil)
	if err != nil && !home.LaidOut() {
		return err
	}
	if err := home.Check(image); err != nil {
		return err
	}
	var listener net.Listener
	if s.probeAddress != "off" {
		if listener, err = net.Listen("tcp", s.probeAddress); err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			return usageError{fmt.Errorf("probe-address %s: %w", s.probeAddress, err)}
		}
	}

	rp := reaper.New()
	defer background(rp.Run)() // first in, last out: it collects what the parts leave behind

	ctx, quit := context.WithCancel(context.Background())
	defer quit()

	seen := newObserver()
	var sup *supervisor.Supervisor
	var follower *chain.Follower
	var happened alarms
	prober := probe.New(probe.Config{
		MaxHeadAge:        s.readyMaxHeadAge,
		LiveMaxRPCSilence: s.liveMaxRPCSilence,
		MinPeers:          s.readyMinPeers,
		MaxLag:            uint64(s.readyMaxLag),
		LoopBeat:          func() time.Time { return sup.Beat() },
		Logger:            log.With(logger, "component", "probe"),
	})
	prober.SetPhase("waiting for the volume")
	follower, err = chain.NewFollower(chain.Config{
		Address:    s.rpcAddress,
		IPC:        filepath.Join(s.dataDir, "*.ipc"),
		PeersEvery: s.healthCheckInterval,
		Logger:     log.With(logger, "component", "chain"),
		OnFacts:    prober.SetFacts,
		OnAlarm:    prober.SetAlarm,
		StateFile:  filepath.Join(home.Dir(), "head.json"),
	})
	if err != nil {
		return usageError{fmt.Errorf("rpc-address %s: %w", s.rpcAddress, err)}
	}
	config := supervisor.Config{
		Reaper:           rp,
		Logger:           log.With(logger, "component", "init"),
		Program:          home.Program,
		Args:             args,
		Env:              nodeEnv(os.Environ()),
		Grace:            s.shutdownGrace,
		RestartOnFailure: s.restartOnFailure,
		RestartOnSuccess: s.onExitZero == "restart",
		MaxRestarts:      s.maxRestarts,
		RestartWindow:    s.restartWindow,
		Stdout:           os.Stdout,
		Stderr:           os.Stderr,
		OnTransition: func(from, to supervisor.Status) {
			switch {
			case to.Started.IsZero() && !from.Started.IsZero():
				follower.NodeStopped()
			case !to.Started.Equal(from.Started):
				follower.NodeStarted(to.Started)
			}
			prober.SetNode(nodeOf(to))
			seen.transition(from, to)
		},
		OnEnded: func(e supervisor.Ended) {
			seen.ended(e)
			happened.ended(e)
			hint(logger, args, e)
		},
	}
	if s.logFile != "" {
		file := &lumberjack.Logger{Filename: s.logFile, MaxSize: 100, MaxBackups: 5}
		defer file.Close()
		config.LogFile = file
	}
	sup = supervisor.New(config)

	forwarder := &supervisor.Forwarder{
		Signals: signals.C,
		Map:     s.signalMap,
		Target:  sup.Process,
		Keep:    keep(ctx, quit, logger),
	}
	defer background(forwarder.Run)() // until the last sweep: a second TERM must find a reader

	notifier, err := newNotifier(s, s.alertURLs, log.With(logger, "component", "alert"))
	if err != nil {
		return err
	}
	board := alert.NewBoard(alert.BoardConfig{
		OnAlert: notifier.Offer,
		Rules:   happened.rules(s, sup.Tail()),
		Scene:   func() alert.Scene { return alert.SceneOf(prober, time.Now()) },
		Logger:  log.With(logger, "component", "alert"),
	})
	seen.supervisor, seen.prober, seen.reaper, seen.forwarder, seen.version = sup.Status, prober, rp, forwarder, version
	seen.board, seen.notifier = board, notifier

	held := make(chan struct{})          // closes when the volume is ours
	judged := make(chan struct{})        // closes when no alert can come any more
	down := make(chan struct{})          // closes when the node is down for good
	probes := make(chan net.Listener, 1) // the probe listener, once it is open
	if listener != nil {
		probes <- listener
	}
	var outcome error

	var g group.Group
	g.Add(actor(ctx, func(ctx context.Context) error {
		defer close(down)
		outcome = func() error {
			lock, err := home.Lock(ctx, s.lockTimeout)
			if err != nil {
				return err
			}
			defer lock.Close()
			if listener == nil && s.probeAddress != "off" {
				if listener, err = listenAgain(ctx, s.probeAddress); err != nil {
					return err
				}
				probes <- listener
			}
			if err := home.Prepare(image); err != nil {
				return err
			}
			close(held)
			prober.SetPhase("")
			level.Info(logger).Log("msg", "supervising", "version", version, "home", s.home, "binary", home.Current(),
				"grace", s.shutdownGrace, "runtime_limit", "at least "+(s.shutdownGrace+30*time.Second).String())
			return sup.Run(ctx)
		}()
		return outcome
	}))
	g.Add(actor(ctx, follower.Run))
	g.Add(actor(ctx, prober.Run))
	g.Add(actor(ctx, probe.NewSampler(probe.SamplerConfig{
		Interval: s.metricsInterval,
		Paths:    []string{s.dataDir, s.dataBackupDir},
		PID:      func() int { return sup.Status().Pid },
		OnSample: prober.SetResources,
		Logger:   log.With(logger, "component", "probe"),
	}).Run))
	// The last moments are worth an alert too, and an alert its delivery.
	g.Add(actor(ctx, func(ctx context.Context) error {
		defer close(judged)
		return board.Run(ctx, down)
	}))
	g.Add(actor(ctx, func(ctx context.Context) error { return notifier.Run(ctx, judged) }))
	// The listeners outlive their context until the node is down: orchestrators
	// and people ask how the stop goes.
	g.Add(actor(ctx, enduring(logger, "probe listener", func(ctx context.Context) error {
		select {
		case ln := <-probes:
			return probe.Serve(ctx, ln, prober.Handler(seen.write), down)
		case <-ctx.Done():
			return nil
		}
	})))
	g.Add(actor(ctx, enduring(logger, "control socket", func(ctx context.Context) error {
		select {
		case <-held:
		case <-ctx.Done():
			return nil
		}
		ln, path, err := api.Listen(s.controlSocket)
		if err != nil {
			return err
		}
		defer os.Remove(path)
		return api.NewServer(api.Config{
			Supervisor: sup,
			Version:    ownVersion(),
			Health:     prober.Health,
			Alerts:     board.Alerts,
			Metrics:    func() any { return seen.families() },
			TestAlert:  func(ctx context.Context, url string) ([]alert.Trial, error) { return tryAlert(ctx, s, url) },
			Detached:   os.Getenv(detached) != "",
			Quit:       quit,
			Status: func() api.Status {
				return api.StatusOf(api.Sources{
					Supervisor: sup.Status(), Facts: follower.Facts(), Health: prober.Health(),
					Alerts: board.Alerts(), Network: s.network, Upgrade: home.Current(),
				}, time.Now())
			},
		}).Serve(ctx, ln, down)
	})))
	g.Add(actor(ctx, watchCustody(logger, sup, s.dataDir)))
	_ = g.Run()

	return ending(outcome, sup.Status().Last)
}

// ending turns how the supervisor ended into what the program returns: the
// node's own code wherever there is one.
func ending(err error, last *supervisor.Ended) error {
	status := 0
	if last != nil {
		status = last.Exit.Status()
	}
	switch {
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
func keep(ctx context.Context, quit func(), logger log.Logger) func(syscall.Signal) bool {
	return func(sig syscall.Signal) bool {
		switch sig {
		case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
			if ctx.Err() != nil {
				level.Info(logger).Log("msg", "already stopping; the node is not told twice", "signal", supervisor.SignalName(sig))
			}
			quit()
		case syscall.SIGHUP: // it kills these nodes uncleanly
			level.Warn(logger).Log("msg", "settings are read at the start only; restart the container to change them", "signal", "HUP")
		default:
			return false
		}
		return true
	}
}

// nodeEnv is the environment as we got it, without what we set ourselves.
func nodeEnv(environ []string) []string {
	env := make([]string, 0, len(environ))
	for _, pair := range environ {
		if len(pair) <= len(detached) || pair[:len(detached)+1] != detached+"=" {
			env = append(env, pair)
		}
	}
	return env
}

// nodeOf is what the prober needs of a status.
func nodeOf(st supervisor.Status) probe.Node {
	n := probe.Node{
		State: string(st.State), Reason: st.Reason, PID: st.Pid, Started: st.Started,
		Held: st.Held, Stuck: st.Stuck, Failed: st.State == supervisor.Failed, Spent: st.Spent,
	}
	if st.Change != nil {
		n.Change = st.Change.Kind
	}
	return n
}

// actor makes a part of the group: an interrupt only cancels, draining belongs
// to the part.
func actor(ctx context.Context, f func(context.Context) error) (func() error, func(error)) {
	ctx, cancel := context.WithCancel(ctx)
	return func() error { return f(ctx) }, func(error) { cancel() }
}

// enduring keeps a part that fails from taking the node down with it.
func enduring(logger log.Logger, name string, f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			level.Error(logger).Log("msg", "part failed; the node runs on without it", "part", name, "err", err)
		}
		<-ctx.Done()
		return ctx.Err()
	}
}

// listenAgain opens the probe port that a supervisor who has just left the
// volume to us still held.
func listenAgain(ctx context.Context, address string) (net.Listener, error) {
	deadline := time.Now().Add(2 * time.Second)
	for {
		ln, err := net.Listen("tcp", address)
		if err == nil {
			return ln, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("probe-address %s: %w; free the port, choose another, or set it off", address, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// hint explains a habit from cosmovisor: its nodes have a command start.
func hint(logger log.Logger, args []string, e supervisor.Ended) {
	if len(args) > 0 && args[0] == "start" && e.Exit.Status() != 0 && !e.Asked && e.Uptime < 10*time.Second {
		level.Warn(logger).Log("msg", "nodes of the geth family have no command start: leave it out, as in wemixvisor run --http")
	}
}
