package main

import (
	"context"
	"net"
	"os"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/reaper/signals"
	"github.com/wemix/wemixvisor/upgrade"
)

// buildNode makes what keeps the node running.
func (p *parts) buildNode(ctx context.Context) {
	s := p.s
	config := supervisor.Config{
		Reaper:           p.reaper,
		Logger:           p.log("init"),
		Program:          p.program,
		Next:             p.next,
		Args:             p.args,
		Env:              nodeEnv(os.Environ()),
		Grace:            s.shutdownGrace,
		RestartOnFailure: s.restartOnFailure,
		RestartOnSuccess: s.onExitZero == "restart",
		MaxRestarts:      s.maxRestarts,
		RestartWindow:    s.restartWindow,
		Stdout:           os.Stdout,
		Stderr:           os.Stderr,
		OnTransition:     p.transition,
		OnEnded: func(e supervisor.Ended) {
			p.observer.ended(e)
			p.happened.ended(e)
			hint(p.logger, p.args, e)
		},
	}
	if s.logFile != "" {
		file := &lumberjack.Logger{Filename: s.logFile, MaxSize: 100, MaxBackups: 5}
		p.logFile, config.LogFile = file, file
	}
	p.supervisor = supervisor.New(config)
	p.live = newReloader(s, p.logger)
	p.live.check = func(s *settings) error {
		if p.door == nil {
			return nil
		}
		return p.door.Reload(s.apiOrigins) // the token and the certificate, too
	}
	p.live.apply = func(s *settings) {
		p.own.set(s)
		p.prober.SetLimits(s.limits())
		p.supervisor.SetPolicy(s.policy())
		p.board.SetRules(p.rules(s))
	}
	p.forwarder = &supervisor.Forwarder{
		Signals: signals.C,
		Map:     s.signalMap,
		Target:  p.supervisor.Process,
		Keep:    keep(ctx, p.leave, p.live.hup, p.logger),
	}
}

// transition tells everybody what the supervisor has published.
func (p *parts) transition(from, to supervisor.Status) {
	switch {
	case to.Started.IsZero() && !from.Started.IsZero():
		p.follower.NodeStopped()
	case !to.Started.Equal(from.Started):
		p.follower.NodeStarted(to.Started)
	}
	p.prober.SetNode(nodeOf(to))
	p.observer.transition(from, to)
	p.hub.Publish(api.TopicState, api.TransitionOf(from, to))
}

// supervise takes the volume and keeps the node running on it.
func (p *parts) supervise(ctx context.Context) error {
	defer close(p.down)
	p.outcome = p.hold(ctx)
	return p.outcome
}

func (p *parts) hold(ctx context.Context) error {
	s := p.s
	lock, err := p.home.Lock(ctx, s.lockTimeout, upgrade.ForRun)
	if err != nil {
		return err
	}
	defer lock.Close()
	if p.probes == nil && s.probeAddress != "off" {
		if p.probes, err = again(ctx, "probe-address", s.probeAddress, func() (net.Listener, error) { return net.Listen("tcp", s.probeAddress) }); err != nil {
			return err
		}
		p.late <- p.probes
	}
	if err := p.home.Prepare(p.image); err != nil {
		return err
	}
	p.recoverData(ctx)
	if err := p.recoverPlans(ctx); err != nil {
		return err
	}
	close(p.held)
	p.prober.SetPhase("")
	level.Info(p.logger).Log("msg", "supervising", "version", version, "home", s.home, "binary", p.home.Current(),
		"grace", s.shutdownGrace, "runtime_limit", "at least "+(s.shutdownGrace+30*time.Second).String())
	return p.supervisor.Run(ctx)
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

// hint explains a habit from cosmovisor: its nodes have a command start.
func hint(logger log.Logger, args []string, e supervisor.Ended) {
	if len(args) > 0 && args[0] == "start" && e.Exit.Status() != 0 && !e.Asked && e.Uptime < 10*time.Second {
		level.Warn(logger).Log("msg", "nodes of the geth family have no command start: leave it out, as in wemixvisor run --http")
	}
}
