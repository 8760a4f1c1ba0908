package upgrade

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/backup/failpoint"
	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/upgrade/fetch"
)

// Upgrader applies the plans on the volume, one at a time.
//
// Recover comes first, before the node's first start. Then three goroutines meet
// here: the one of Run, which decides; the supervisor's, in whose loop Next
// decides instead while the node is down, and in which the steps of a change
// run; and callers of the exported methods. What they share is the journal, and
// the turn to decide.
type Upgrader struct {
	cfg     Config
	logger  log.Logger
	journal *Journal
	fetcher *fetch.Fetcher

	holding error // found by Recover: the node must not be started

	turn    sync.Mutex // over a decision: two must not both find the node free
	current atomic.Pointer[attempt]
	poke    chan struct{} // holds one: something is to be decided anew
	jobs    sync.WaitGroup
	ctx     atomic.Pointer[context.Context] // of Run; jobs end with it

	download atomic.Pointer[Download] // nil: none is under way
	block    atomic.Int64             // time of one block, ns; 0: unknown

	alarms alarms

	forks atomic.Pointer[[]Fork] // of the running binary; nil: not told

	// Under turn.
	preparing string           // name of the plan that is being prepared
	retries   map[string]retry // plans that are not ready
	ahead     ahead            // the snapshot in the making
	gating    *gating          // the quorum gate, while it is asked
	waiting   *height          // the height somebody is waiting for us
	exits     exits            // those that nobody asked for
	pace      pace
	custody   custody
	forksOf   time.Time            // the start of the process that told them
	archiving string               // plan whose snapshot is being archived
	archived  map[string]struct{}  // plans whose archive failed in this life
	checked   map[string]inspected // binaries, by path
	missed    bool                 // the disk did not take what lies in the queue
	refused   map[string]string    // plans by digest, and why
}

// ErrBusy says that an upgrade, or something else, is being done to the node.
var ErrBusy = supervisor.ErrBusy

// New returns an Upgrader. Recover it, then don't forget to Run it.
func New(cfg Config) *Upgrader {
	u := &Upgrader{
		cfg:      cfg.withDefaults(),
		poke:     make(chan struct{}, 1),
		retries:  map[string]retry{},
		archived: map[string]struct{}{},
		journal:  NewJournal(cfg.Home, cfg.Version),
		checked:  map[string]inspected{},
		refused:  map[string]string{},
	}
	u.logger = u.cfg.Logger
	u.alarms.on = u.cfg.OnAlarm
	u.fetcher = fetch.New(fetch.Config{
		Dir:             u.cfg.Home.downloads(),
		AllowHTTP:       u.cfg.AllowHTTP,
		AllowNoChecksum: u.cfg.AllowNoChecksum,
		Timeout:         u.cfg.DownloadTimeout,
		OnProgress:      u.downloaded,
	})
	return u
}

// Run decides about plans until ctx is done. It returns when the node is down
// for good, having noted how that was left.
func (u *Upgrader) Run(ctx context.Context) error {
	u.ctx.Store(&ctx)
	defer u.jobs.Wait()
	defer u.leave(ctx)
	tick := time.NewTicker(u.cfg.PollInterval)
	defer tick.Stop()
	for {
		u.decide(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-u.cfg.Queue.Changed():
			u.Look()
		case <-u.poke:
		case <-tick.C:
			u.turn.Lock()
			missed := u.missed
			u.turn.Unlock()
			if missed {
				u.Look()
			}
			if err := u.journal.flush(); err != nil {
				u.alarms.fire("journal", "the journal cannot be written: "+err.Error(), true)
			} else {
				u.alarms.over("journal")
			}
		}
	}
}

// leave notes how the node was left, once it is down for good: the next first
// start depends on it.
func (u *Upgrader) leave(ctx context.Context) {
	if ctx.Err() == nil {
		return
	}
	<-u.cfg.Node.Closed()
	last := u.cfg.Node.Status().Last
	facts := u.cfg.Facts()
	u.record("note how the node was left", func(s *state) {
		if last != nil {
			s.Node.Clean = clean(*last)
		} // else it was never started, and is as it was
		s.Node.At = time.Now()
		if facts.Known {
			s.Node.Known, s.Node.Height, s.Node.Hash = true, facts.Height, facts.Hash
		}
	})
}

// clean reports whether a process that ended so had written all it knew: it was
// told to and had the time, or ended by itself in good order.
func clean(e supervisor.Ended) bool {
	if e.OOM || e.Killed {
		return false
	}
	if e.Asked {
		return e.Exit.Signal == 0 || e.Exit.Signal == sigterm
	}
	return e.Exit.Status() == 0
}

// wake has a decision made soon.
func (u *Upgrader) wake() {
	select {
	case u.poke <- struct{}{}:
	default:
	}
}

// job runs f beside the loop; Run waits for it. Before Run there are no jobs.
func (u *Upgrader) job(f func(ctx context.Context)) {
	ctx := u.ctx.Load()
	if ctx == nil || (*ctx).Err() != nil {
		return
	}
	u.jobs.Go(func() {
		f(*ctx)
		u.wake()
	})
}

// record notes in the journal what has happened already, and reports when the
// disk does not take it.
func (u *Upgrader) record(what string, edit func(*state)) {
	if err := u.journal.note(edit); err != nil {
		level.Error(u.logger).Log("msg", "journal not written; trying again", "doing", what, "err", err)
		u.alarms.fire("journal", "the journal cannot be written: "+err.Error(), true)
	}
}

// enter moves a plan to a stage for which nothing else is done, in the journal
// and before the world.
func (u *Upgrader) enter(name string, stage Stage, reason string, also func(*Record)) {
	var is *Record
	u.record("enter "+string(stage), func(s *state) {
		r := s.record(name)
		if r == nil {
			return
		}
		r.enter(stage, reason, time.Now())
		if also != nil {
			also(r)
		}
		is = r
	})
	if is != nil {
		u.tell(is)
	}
}

// tell logs and publishes that a plan is at a stage.
func (u *Upgrader) tell(r *Record) {
	logger := level.Info(u.logger)
	switch r.Stage {
	case NotReady, Unconfirmed:
		logger = level.Warn(u.logger)
	case RolledBack, Failed:
		logger = level.Error(u.logger)
	}
	keys := []any{"msg", "plan", "plan", r.Name, "height", r.Height, "stage", r.Stage}
	if r.Reason != "" {
		keys = append(keys, "why", r.Reason)
	}
	logger.Log(keys...)
	if u.cfg.OnEvent != nil {
		u.cfg.OnEvent(Event{r.Name, r.Height, r.Stage, r.Reason, r.Since})
	}
	u.alarm(r)
	failpoint.At("plan." + string(r.Stage)) // it is in the journal
}

// alarm fires and ends what an operator should know about a plan at its stage.
func (u *Upgrader) alarm(r *Record) {
	behind := false // an upgrade has succeeded since
	for _, o := range u.journal.read().Records {
		behind = behind || o.Stage == Done && o.Since.After(r.Since)
	}
	key := func(what string) string { return what + "/" + r.Name }
	set := func(what string, on, critical bool, text string) {
		if on {
			u.alarms.fire(key(what), text, critical)
		} else {
			u.alarms.over(key(what))
		}
	}
	set("upgrade_not_ready", r.Stage == NotReady, false, fmt.Sprintf("plan %s is not ready: %s", r.Name, r.Reason))
	set("upgrade_held", r.Held && r.Stage.Pending(), true, fmt.Sprintf("plan %s is held: %s", r.Name, r.Reason))
	set("upgrade_rolled_back", r.Stage == RolledBack && !behind, true, fmt.Sprintf("plan %s was rolled back: %s", r.Name, r.Reason))
	set("upgrade_failed", r.Stage == Failed && !behind, true, fmt.Sprintf("plan %s failed: %s", r.Name, r.Reason))
	set("upgrade_unconfirmed", r.Stage == Unconfirmed && !behind, false, fmt.Sprintf("plan %s is unconfirmed: %s", r.Name, r.Reason))
	if r.Stage != NotReady {
		u.alarms.over(key("upgrade_late"))
	}
	if r.Stage != Waiting {
		u.alarms.over(key("upgrade_waiting"))
	}
}

// alarms are the conditions that fire at present.
type alarms struct {
	on   func(Alarm)
	mu   sync.Mutex
	list map[string]Alarm
}

func (a *alarms) fire(key, text string, critical bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	was, fires := a.list[key]
	if fires && was.Critical == critical {
		return
	}
	if a.list == nil {
		a.list = map[string]Alarm{}
	}
	a.list[key] = Alarm{Key: key, Text: text, Critical: critical}
	if a.on != nil {
		a.on(a.list[key])
	}
}

func (a *alarms) over(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	was, fires := a.list[key]
	if !fires {
		return
	}
	delete(a.list, key)
	if was.Over = true; a.on != nil {
		a.on(was)
	}
}
