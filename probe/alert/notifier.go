package alert

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// queueMax is how many messages may wait for one channel.
const queueMax = 64

// pace is how a channel is treated.
type pace struct {
	first, last time.Duration // between tries, doubling
	patience    time.Duration // for one try
	giveUp      time.Duration // after which a message is dropped
	burst       int           // messages in one window
	window      time.Duration
	farewell    time.Duration // for what is left when we end
}

var usual = pace{
	first: 2 * time.Second, last: time.Minute,
	patience: 6 * time.Minute, // discord's library sits out a Retry-After of up to five
	giveUp:   30 * time.Minute,
	burst:    10, window: time.Minute, // telegram allows 20 a minute, and has others to serve
	farewell: 3 * time.Second,
}

// NotifierConfig is what a Notifier needs.
type NotifierConfig struct {
	URLs   []string
	Source string // who speaks: the host, and its network
	Logger log.Logger
}

// Notifier carries alerts to channels. Each has a goroutine and a queue of its
// own, so that none waits for another.
type Notifier struct {
	cfg      NotifierConfig
	pace     pace
	channels []*channel

	sent, failed, dropped atomic.Uint64
}

// NewNotifier returns a Notifier. Don't forget to Run it. An error shows nothing
// of the URL that is wrong.
func NewNotifier(cfg NotifierConfig) (*Notifier, error) {
	if cfg.Logger == nil {
		cfg.Logger = log.NewNopLogger()
	}
	n := &Notifier{cfg: cfg, pace: usual}
	names := make(map[string]int)
	for i, raw := range cfg.URLs {
		c, err := newChannel(raw)
		if err != nil {
			return nil, fmt.Errorf("URL %d: %w", i+1, err)
		}
		if names[c.name]++; names[c.name] > 1 {
			c.name += fmt.Sprintf("#%d", names[c.name])
		}
		n.channels = append(n.channels, c)
	}
	return n, nil
}

// Counts is what became of the messages.
type Counts struct {
	Sent    uint64
	Failed  uint64 // tries; most are tried again
	Dropped uint64 // for want of room, or given up
}

// Counts returns what became of the messages so far.
func (n *Notifier) Counts() Counts {
	return Counts{n.sent.Load(), n.failed.Load(), n.dropped.Load()}
}

// Offer queues an alert for every channel. It never blocks: where there is no
// room the message is dropped and counted.
func (n *Notifier) Offer(a Alert) {
	for _, c := range n.channels {
		select {
		case c.queue <- a:
		default:
			n.drop(c, a, "too many wait already")
		}
	}
}

func (n *Notifier) drop(c *channel, a Alert, why string) {
	n.dropped.Add(1)
	level.Warn(n.cfg.Logger).Log("msg", "notification dropped", "channel", c.name, "alert", a.Name, "state", a.State, "why", why)
}

// Run sends until ctx is done and closed is closed: nobody offers anything any
// more. What waits then has a moment to be sent. A nil closed is not waited for.
func (n *Notifier) Run(ctx context.Context, closed <-chan struct{}) error {
	hurry := make(chan struct{})
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var all sync.WaitGroup
	for _, c := range n.channels {
		all.Go(func() { n.serve(last, hurry, c) })
	}
	<-ctx.Done()
	if closed != nil {
		<-closed
	}
	close(hurry)
	defer time.AfterFunc(n.pace.farewell, cancel).Stop()
	all.Wait()
	return ctx.Err()
}

// serve sends what is queued for c, one after the other, until hurry is closed
// and the queue is empty.
func (n *Notifier) serve(ctx context.Context, hurry <-chan struct{}, c *channel) {
	var times []time.Time // of the last messages
	for {
		select {
		case a := <-c.queue:
			if len(times) == n.pace.burst {
				pause(ctx, hurry, time.Until(times[0].Add(n.pace.window)))
				times = times[1:]
			}
			times = append(times, time.Now())
			n.deliver(ctx, hurry, c, a)
		case <-hurry:
			select {
			case a := <-c.queue:
				n.deliver(ctx, hurry, c, a)
			default:
				return
			}
		}
	}
}

// deliver sends one alert, trying until it is sent, given up, or ctx is done.
func (n *Notifier) deliver(ctx context.Context, hurry <-chan struct{}, c *channel, a Alert) {
	logger := log.With(n.cfg.Logger, "channel", c.name, "alert", a.Name, "state", a.State)
	began := time.Now()
	for tries := 1; ; tries++ {
		if ctx.Err() != nil {
			n.drop(c, a, "we end")
			return
		}
		err := n.try(ctx, c, a)
		switch {
		case err == nil:
			n.sent.Add(1)
			if tries > 1 {
				level.Info(logger).Log("msg", "notification sent at last", "tries", tries)
			}
			return
		case tries == 1:
			level.Warn(logger).Log("msg", "notification not sent; trying again", "err", err)
		}
		n.failed.Add(1)
		delay := min(n.pace.first<<min(tries-1, 10), n.pace.last)
		if time.Since(began)+delay > n.pace.giveUp {
			n.drop(c, a, err.Error())
			return
		}
		if pause(ctx, hurry, time.Duration(float64(delay)*(0.8+0.4*rand.Float64()))) {
			hurry = nil // one try at once, then as before
		}
	}
}

func (n *Notifier) try(ctx context.Context, c *channel, a Alert) error {
	ctx, cancel := context.WithTimeout(ctx, n.pace.patience)
	defer cancel()
	return c.send(ctx, message{a, n.cfg.Source})
}

// pause waits for d, or less when ctx is done or it is time to hurry: then it
// returns true.
func pause(ctx context.Context, hurry <-chan struct{}, d time.Duration) (hurried bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-hurry:
		return true
	}
	return false
}
