package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/probe/chain"
	"github.com/wemix/wemixvisor/upgrade"
)

// oftenest bounds how often what costs something is looked at: an interval of 0
// is legal, and must not make a busy loop.
const oftenest = 100 * time.Millisecond

// buildWatch makes what knows how the node is doing.
func (p *parts) buildWatch() (err error) {
	s := p.s
	p.observer = newObserver()
	p.prober = probe.New(probe.Config{
		MaxHeadAge:        s.readyMaxHeadAge,
		LiveMaxRPCSilence: s.liveMaxRPCSilence,
		MinPeers:          s.readyMinPeers,
		MaxLag:            uint64(s.readyMaxLag),
		LoopBeat:          func() time.Time { return p.supervisor.Beat() },
		Logger:            p.log("probe"),
	})
	p.prober.SetPhase("waiting for the volume")
	p.follower, err = chain.NewFollower(chain.Config{
		Address:    s.rpcAddress,
		IPC:        filepath.Join(s.dataDir, "*.ipc"),
		PeersEvery: max(s.healthCheckInterval, oftenest),
		Logger:     p.log("chain"),
		OnFacts:    p.prober.SetFacts,
		OnHead:     func(h chain.Head) { p.hub.Publish(api.TopicHead, api.BlockOf(h)) },
		OnAlarm:    p.prober.SetAlarm,
		StateFile:  headFile(p.home),

		Downtime:    s.gateDowntime,
		OnConsensus: p.agreed,
	})
	if err != nil {
		return usageError{fmt.Errorf("rpc-address %s: %w", chain.Redacted(s.rpcAddress), err)}
	}
	p.sampler = probe.NewSampler(probe.SamplerConfig{
		Interval: max(s.metricsInterval, oftenest),
		Paths:    []string{s.dataDir, s.dataBackupDir},
		PID:      func() int { return p.supervisor.Status().Pid },
		OnSample: p.prober.SetResources,
		Logger:   p.log("probe"),
	})
	return nil
}

// headFile is where the last head is kept.
func headFile(h upgrade.Home) string { return filepath.Join(h.Dir(), "head.json") }

// buildAlerts makes what judges all that, and who is told.
func (p *parts) buildAlerts() (err error) {
	if p.notifier, err = newNotifier(p.s, p.s.alertURLs, p.log("alert")); err != nil {
		return err
	}
	p.board = alert.NewBoard(alert.BoardConfig{
		OnAlert: func(a alert.Alert) {
			p.hub.Publish(api.TopicAlert, a)
			p.notifier.Offer(a)
		},
		Rules:  p.rules(p.s),
		Scene:  func() alert.Scene { return alert.SceneOf(p.prober, time.Now()) },
		Logger: p.log("alert"),
	})
	return nil
}

// rules lists every alert there is.
func (p *parts) rules(s *settings) []alert.Rule {
	return slices.Concat(p.happened.rules(s, p.supervisor.Tail()), backupRules(s, p.backups, p.began), p.consensusRules(s))
}

// judge runs the rules until no more can come of them.
func (p *parts) judge(ctx context.Context) error {
	defer close(p.judged)
	return p.board.Run(ctx, p.down)
}
