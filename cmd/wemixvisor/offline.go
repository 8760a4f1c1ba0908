package main

import (
	"context"

	"github.com/go-kit/log"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/reaper"
	"github.com/wemix/wemixvisor/upgrade"
)

// offline does something about the plans of a volume that nobody supervises, and
// keeps everybody from supervising it meanwhile.
func offline(ctx context.Context, s *settings, do func(*upgrade.Upgrader) error) error {
	home := upgrade.Home{Root: s.home, Name: s.name}
	lock, err := home.Lock(ctx, s.lockTimeout, "upgrade")
	if err != nil {
		return err
	}
	defer lock.Close()
	rp := reaper.New()
	defer background(rp.Run)() // a binary is asked for its version
	c := upgradeConfig(s, home)
	c.Reaper = rp
	c.Node = supervisor.New(supervisor.Config{Reaper: rp, Logger: log.NewNopLogger()}) // it is never run
	c.Queue = upgrade.NewQueue(upgrade.QueueConfig{Home: home, Data: s.dataDir})
	u := upgrade.New(c)
	if err := u.Visit(); err != nil {
		return err
	}
	return do(u)
}
