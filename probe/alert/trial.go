package alert

import (
	"context"
	"sync"
	"time"
)

// Trial is what became of a test alert on one channel.
type Trial struct {
	Channel string `json:"channel"` // what of its URL may be seen
	OK      bool   `json:"ok"`
	Error   string `json:"error"`
}

// trialMax is how long a person waits for a test.
const trialMax = 30 * time.Second

// Test sends a test alert to every channel at once, past their queues, and
// returns what became of it. It tries once.
func (n *Notifier) Test(ctx context.Context) []Trial {
	ctx, cancel := context.WithTimeout(ctx, trialMax)
	defer cancel()
	now := time.Now().UTC()
	m := message{Alert{Name: "test", Severity: Warning, State: "test", Since: now, Summary: "This is a test of wemixvisor's alerts."}, n.cfg.Source}
	trials := make([]Trial, len(n.channels))
	var all sync.WaitGroup
	for i, c := range n.channels {
		all.Go(func() {
			trials[i] = Trial{Channel: c.name, OK: true}
			fresh, err := newChannel(c.url.String()) // a service is not made for two senders
			if err == nil {
				err = fresh.send(ctx, m)
			}
			if err != nil {
				trials[i].OK, trials[i].Error = false, err.Error()
			}
		})
	}
	all.Wait()
	return trials
}
