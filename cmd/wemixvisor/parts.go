package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/go-kit/log"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/probe/chain"
	"github.com/wemix/wemixvisor/reaper"
	"github.com/wemix/wemixvisor/upgrade"
	"github.com/wemix/wemixvisor/upgrade/governance"
)

// parts is everything the supervisor is made of. They are built in the order of
// build; func fields of one may name another that is built after it, since none
// is called before all are there.
type parts struct {
	s      *settings
	args   []string // the node's
	own    *ownLog
	logger log.Logger
	quit   func() // ends the group
	began  time.Time

	home    upgrade.Home
	image   string // the bundled node binary; empty: there is none
	logFile io.Closer

	reaper     *reaper.Reaper
	supervisor *supervisor.Supervisor
	forwarder  *supervisor.Forwarder
	outcome    error // how the supervisor ended

	observer *observer
	follower *chain.Follower
	prober   *probe.Prober
	sampler  *probe.Sampler

	consent    consent
	queue      *upgrade.Queue
	upgrader   *upgrade.Upgrader
	governance *governance.Watcher // nil: off

	happened alarms
	board    *alert.Board
	notifier *alert.Notifier

	backupParts

	live   *reloader
	hub    *api.Hub
	server *api.Server

	probes net.Listener      // nil: off, or not open yet
	late   chan net.Listener // gets it, once it is open
	door   *api.Door         // nil: no API over TCP
	public net.Listener      // its listener; nil: not open yet

	held   chan struct{} // closes when the volume is ours
	whole  chan struct{} // closes when no upgrade is half done
	judged chan struct{} // closes when no alert can come any more
	down   chan struct{} // closes when the node is down for good
}

// examine says what cannot work before anything is written, and opens the ports.
func (p *parts) examine() error {
	s := p.s
	if err := s.remote(upgrade.Remote); err != nil {
		return err
	}
	p.home = upgrade.Home{Root: s.home, Name: s.name}
	var err error
	if p.image, err = bundled(s, nil); err != nil && !p.home.LaidOut() {
		return err
	}
	if err := p.home.Check(p.image); err != nil {
		return err
	}
	// A port in use may be that of a supervisor who is about to leave the volume
	// to us; it is tried again when that is done.
	if s.probeAddress != "off" {
		if p.probes, err = net.Listen("tcp", s.probeAddress); err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			return usageError{fmt.Errorf("probe-address %s: %w", s.probeAddress, err)}
		}
	}
	if !s.apiOn() {
		return nil
	}
	if p.door, err = api.NewDoor(api.DoorConfig{
		TokenFile: s.apiTokenFile, CertFile: s.apiTLSCert, KeyFile: s.apiTLSKey, Origins: s.apiOrigins,
		Logger: p.log("api"),
	}); err != nil {
		return usageError{fmt.Errorf("api-address: %w", err)}
	}
	if p.public, err = api.ListenTCP(context.Background(), s.apiAddress); err != nil && !errors.Is(err, syscall.EADDRINUSE) {
		return usageError{fmt.Errorf("api-address %s: %w", s.apiAddress, err)}
	}
	return nil
}

// build makes every part. It starts none.
func (p *parts) build(ctx context.Context) error {
	p.held, p.whole, p.judged, p.down = make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	if err := p.buildWatch(); err != nil {
		return err
	}
	p.buildConsensus()
	p.buildNode(ctx)
	p.buildBackups()
	p.buildUpgrades()
	if err := p.buildAlerts(); err != nil {
		return err
	}
	p.buildGovernance()
	p.buildServer()
	return nil
}

// close closes what the parts leave open.
func (p *parts) close() {
	if p.logFile != nil {
		p.logFile.Close()
	}
}

// log is our own log with the name of a room.
func (p *parts) log(component string) log.Logger {
	return log.With(p.logger, "component", component)
}
