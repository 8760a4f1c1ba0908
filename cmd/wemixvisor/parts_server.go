package main

import (
	"context"
	"net"
	"os"
	"time"

	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/probe/chain"
)

// buildServer makes what answers people and programs.
func (p *parts) buildServer() {
	seen := p.observer
	seen.supervisor, seen.prober, seen.reaper, seen.forwarder, seen.version = p.supervisor.Status, p.prober, p.reaper, p.forwarder, version
	seen.board, seen.notifier, seen.backups, seen.plans = p.board, p.notifier, p.backups, p.upgrader.List
	seen.consensus = p.follower.Consensus

	p.late = make(chan net.Listener, 1)
	if p.probes != nil {
		p.late <- p.probes
	}
	p.hub = api.NewHub(p.supervisor.Tail(), p.log("api"))
	p.server = api.NewServer(api.Config{
		Supervisor: p.supervisor,
		Upgrades:   p.upgrader,
		Home:       p.home,
		Hub:        p.hub,
		Version:    ownVersion(),
		Health:     p.prober.Health,
		Alerts:     p.board.Alerts,
		Metrics:    func() any { return seen.families() },
		TestAlert: func(ctx context.Context, url string) ([]alert.Trial, error) {
			return tryAlert(ctx, p.live.now.Load(), url)
		},
		Governance: p.governed,
		Settings:   func() []api.Setting { return p.live.now.Load().list() },
		Reload:     p.live.reload,
		Consensus: func() (chain.Consensus, string) {
			return p.follower.Consensus(), p.follower.Facts().Version
		},
		Gate:     p.gate(),
		Forced:   func() { p.harm("stop --force") },
		LogFile:  p.s.logFile,
		Detached: os.Getenv(detached) != "",
		Quit:     p.quit,
		Logger:   p.log("api"),
		Status:   p.status,
		Backups:  p.backups,
	})
}

// status is what GET /api/v1/status answers.
func (p *parts) status() api.Status {
	var gate api.Gate
	gate.Reason, gate.Since = p.waiting()
	return api.StatusOf(api.Sources{
		Supervisor: p.supervisor.Status(), Facts: p.follower.Facts(), Health: p.prober.Health(),
		Alerts: p.board.Alerts(), Network: p.live.now.Load().network, Upgrade: p.home.Current(),
		Plans: p.upgrader.List(), Download: p.upgrader.Downloading(),
		Backup:    api.BackupStateOf(p.backups.Figures(), p.backups.Job()),
		Consensus: p.follower.Consensus(), Gate: gate,
	}, time.Now())
}

func (p *parts) serveProbes(ctx context.Context) error {
	select {
	case ln := <-p.late:
		return probe.Serve(ctx, ln, p.prober.Handler(p.observer.write), p.down)
	case <-ctx.Done():
		return nil
	}
}

func (p *parts) serveSocket(ctx context.Context) error {
	if !p.wait(ctx) {
		return nil
	}
	ln, path, err := api.Listen(p.s.controlSocket)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	return p.server.Serve(ctx, ln, nil, p.down)
}

func (p *parts) servePublic(ctx context.Context) error {
	address := p.s.apiAddress
	if p.s.apiTLSCert == "" && !loopback(address) {
		level.Warn(p.logger).Log("msg", "the API's token travels in clear text; set api-tls-cert, or put a TLS proxy in front", "address", address)
	}
	if p.public == nil {
		if !p.wait(ctx) { // until then the port is another supervisor's
			return nil
		}
		var err error
		if p.public, err = again(ctx, "api-address", address, func() (net.Listener, error) { return api.ListenTCP(ctx, address) }); err != nil {
			return err
		}
	}
	return p.server.Serve(ctx, p.public, p.door, p.down)
}

// wait returns when the volume is ours, or false when that is not to be.
func (p *parts) wait(ctx context.Context) bool {
	select {
	case <-p.held:
		return true
	case <-ctx.Done():
		return false
	}
}
