package main

import (
	"time"

	supervisor "github.com/wemix/wemixvisor/init"
)

// nodeSettings say how the node is kept running.
type nodeSettings struct {
	shutdownGrace    time.Duration
	restartOnFailure bool
	onExitZero       string
	maxRestarts      int
	restartWindow    time.Duration
	signalMap        supervisor.SignalMap
}

func (s *nodeSettings) define(r *reader) {
	r.duration(&s.shutdownGrace, "shutdown-grace", 30*time.Second, 0, "TERM, then this, then KILL; the runtime's own limit must be at least 30s longer")
	r.truth(&s.restartOnFailure, "restart-on-failure", true, "restart a node that exited with a failure")
	r.word(&s.onExitZero, "on-exit-zero", "exit", "what an unrequested exit 0 of the node means: exit or restart", "exit", "restart")
	r.count(&s.maxRestarts, "max-restarts", 5, "restarts within restart-window before the supervisor gives up")
	r.duration(&s.restartWindow, "restart-window", 10*time.Minute, 0, "window of max-restarts; a run that outlasts it resets the count; 0: restarts are never too many")
	r.add("signal-map", "", "rewrite signals, `FROM=TO,...`; TO 0 drops: HUP=0,USR1=TERM", func(text string) (err error) {
		s.signalMap, err = supervisor.ParseSignalMap(text)
		return err
	})
}

func (s *nodeSettings) policy() supervisor.Policy {
	return supervisor.Policy{
		Grace:            s.shutdownGrace,
		RestartOnFailure: s.restartOnFailure,
		RestartOnSuccess: s.onExitZero == "restart",
		MaxRestarts:      s.maxRestarts,
		RestartWindow:    s.restartWindow,
	}
}
