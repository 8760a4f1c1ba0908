package upgrade

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/wemix/wemixvisor/backup"
	supervisor "github.com/wemix/wemixvisor/init"
)

const reasonScheduled = "scheduled"

const (
	scheduleTick = time.Second
	// jitterShare is by how much of the interval a backup may be late: the nodes of
	// one network must not all stop at once.
	jitterShare = 10
	// steadyFor is how long the node must have run: one that has just come up is
	// not stopped again at once.
	steadyFor = time.Minute
)

// schedule decides when the next backup is due. The last one is what lies in the
// repository, whoever made it, so a supervisor that is restarted every day does
// not put off a backup that is due every two.
type schedule struct {
	b       *Backups
	started time.Time
	every   time.Duration // what the jitter was drawn for
	jitter  time.Duration
	retry   time.Time     // not before
	pause   time.Duration // until the next try after a failure
}

func (s *schedule) due() bool {
	every := s.b.cfg.Policy().Schedule
	if every <= 0 {
		s.every = 0
		return false
	}
	now := s.b.cfg.Now()
	if s.every != every {
		s.every, s.jitter, s.pause, s.retry = every, jitter(every), 0, time.Time{}
	}
	if now.Before(s.next()) || now.Before(s.retry) || s.b.Job() != nil {
		return false
	}
	// One that is down on purpose has nothing new, and one that fails no rest.
	st := s.b.cfg.Node.Status()
	return st.State == supervisor.Running && st.Change == nil && time.Since(st.Started) >= min(steadyFor, every/4)
}

// next returns when the next backup is due.
func (s *schedule) next() time.Time {
	for _, info := range s.b.ledger.Load().archives {
		switch {
		case !info.Verified:
			continue
		case info.Created.After(s.b.cfg.Now()): // the clock went back; an interval from now on is as good as any
			return s.started.Add(s.every + s.jitter)
		}
		return info.Created.Add(s.every + s.jitter)
	}
	return s.started.Add(s.jitter)
}

// made notes how a backup went.
func (s *schedule) made(err error) {
	switch {
	case err == nil:
		s.jitter, s.pause = jitter(s.every), 0
	case errors.Is(err, supervisor.ErrBusy), errors.Is(err, backup.ErrBusy): // no failure: it was somebody else's turn
		s.retry = s.b.cfg.Now().Add(max(time.Second, min(time.Minute, s.every/jitterShare)))
	default:
		// Each try may stop the node, so they come ever more rarely.
		s.pause = min(max(2*s.pause, s.every/20, time.Second), s.every)
		s.retry = s.b.cfg.Now().Add(s.pause)
	}
}

func jitter(every time.Duration) time.Duration {
	return time.Duration(rand.Int64N(int64(every)/jitterShare + 1))
}
