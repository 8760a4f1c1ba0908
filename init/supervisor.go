package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/reaper"
)

// Errors a caller may branch on.
var (
	// ErrBusy says that something else is being done to the node.
	ErrBusy = errors.New("a change is in progress")
	// ErrClosed says that the supervisor has ended or is about to.
	ErrClosed = errors.New("supervisor has ended")
	// ErrRunning says that the node runs already.
	ErrRunning = errors.New("node is already running")
	// ErrCrashLoop says that the restart budget is spent.
	ErrCrashLoop = errors.New("node keeps failing")
	// ErrEnded says that the node ended by itself and is not to be restarted.
	ErrEnded = errors.New("node ended")
)

// Config says what to run and how. Zero fields mean what is written beside them.
type Config struct {
	Reaper *reaper.Reaper
	Logger log.Logger

	// Program returns the file to run. It is asked before each start, so a link
	// that was switched meanwhile is the truth.
	Program func() (string, error)
	Args    []string // without the program's name
	Env     []string
	Dir     string

	Grace            time.Duration // from SIGTERM to SIGKILL
	RestartOnFailure bool
	RestartOnSuccess bool // an exit 0 that nobody asked for is a failure too
	MaxRestarts      int
	RestartWindow    time.Duration

	// Next may return a change to be made before the first start, when it is
	// asked with nil, and after an exit that nobody asked for. The node is down
	// then, and Run waits for the answer. A nil change, or a nil Next, starts or
	// restarts the node as usual; what becomes a change is no crash.
	Next func(ctx context.Context, end *Ended) *Change

	Stdout, Stderr *os.File  // where the node's output passes to; nil: nowhere
	LogFile        io.Writer // and here too, if not nil

	// OnTransition sees every change of the published status, OnEnded every
	// end of a process, after its generation is gone. Both are called from the
	// supervisor's loop and must not block.
	OnTransition func(from, to Status)
	OnEnded      func(Ended)
}

// Supervisor keeps one node process running.
type Supervisor struct {
	cfg      Config
	logger   log.Logger
	tail     *Tail
	output   *output
	requests chan request
	closed   chan struct{}

	policy atomic.Pointer[Policy]
	status atomic.Pointer[Status]
	proc   atomic.Pointer[reaper.Process] // for the forwarder
	beat   atomic.Pointer[time.Time]      // when the loop was last seen alive; its monotonic part survives a change of the clock

	// Owned by Run.
	args   []string
	node   *node
	budget budget
	retry  *time.Timer // running while in back-off
	// A change has ended with ErrLeave.
	leaving bool
}

// node is one generation: a process, its descendants and its pipes.
type node struct {
	proc  *reaper.Process
	pipes *pipes
	ooms  int64 // the kernel's count when it was started
	wrote int64 // where its output begins in the tail
}

// New returns a Supervisor. Don't forget to Run it.
func New(cfg Config) *Supervisor {
	s := &Supervisor{
		cfg:      cfg,
		logger:   cfg.Logger,
		tail:     newTail(),
		requests: make(chan request),
		closed:   make(chan struct{}),
		args:     cfg.Args,
	}
	s.policy.Store(cfg.policy())
	s.output = &output{stdout: cfg.Stdout, stderr: cfg.Stderr, tail: s.tail, file: cfg.LogFile, logger: cfg.Logger}
	s.status.Store(&Status{State: Stopped, Since: time.Now(), Args: cfg.Args})
	return s
}

// Status returns what is known now.
func (s *Supervisor) Status() Status { return *s.status.Load() }

// Tail returns what the node wrote last.
func (s *Supervisor) Tail() *Tail { return s.tail }

// Still calls f while nothing of the node's output is on its way: what was
// written to the tail before offset is in the log file, and nothing more is.
func (s *Supervisor) Still(f func(offset int64)) {
	s.output.mu.Lock()
	defer s.output.mu.Unlock()
	_, offset := s.tail.Lines(0)
	f(offset)
}

// Process returns the node's process, or nil when it is down.
func (s *Supervisor) Process() *reaper.Process { return s.proc.Load() }

// Closed closes when Run has ended: the node is down for good.
func (s *Supervisor) Closed() <-chan struct{} { return s.closed }

// Beat returns when the loop was last seen alive; zero before Run.
func (s *Supervisor) Beat() time.Time {
	if at := s.beat.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

func (s *Supervisor) beats() {
	now := time.Now()
	s.beat.Store(&now)
}

// pulse is how often the loop shows that it is alive.
const pulse = 5 * time.Second

// Run starts the node and keeps it running until ctx is done, then stops it
// and returns nil. It returns earlier, with [ErrEnded] or [ErrCrashLoop], when
// the node ended by itself for the last time, with [ErrLeave] when a change
// wants it, or with why the node cannot be started.
func (s *Supervisor) Run(ctx context.Context) error {
	defer close(s.closed)
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	s.retry = time.NewTimer(time.Hour)
	s.retry.Stop()
	defer s.retry.Stop()
	s.beats()

	if c := s.next(ctx, nil); c != nil {
		_ = s.change(ctx, *c) // who handed it out is told; the node runs, or is held with the reason
	} else if err := s.start(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	for {
		if s.leaving {
			return ErrLeave
		}
		var ended <-chan struct{}
		if s.node != nil {
			ended = s.node.proc.Done()
		}
		select {
		case <-ctx.Done():
			s.stop("shutting down")
			return nil
		case <-ended:
			end := s.settle("node exited", false)
			if c := s.next(ctx, &end); c != nil {
				_ = s.change(ctx, *c)
			} else if err := s.restart(end); err != nil {
				return err
			}
		case <-s.retry.C:
			if err := s.start(ctx); err != nil && ctx.Err() == nil {
				if lasting(err) {
					return err
				}
				level.Error(s.logger).Log("msg", "node not started", "err", err)
				if err := s.again(err.Error(), ErrCrashLoop); err != nil {
					return err
				}
			}
		case req := <-s.requests:
			req.done <- req.do(ctx)
		case <-tick.C:
		}
		s.beats()
	}
}

// start runs the node's program. On an error the node is down.
func (s *Supervisor) start(ctx context.Context) error {
	s.retry.Stop()
	s.publish(func(st *Status) { st.State, st.Held, st.Stuck = Starting, false, false })
	file, err := s.cfg.Program()
	if err != nil {
		s.stick(err.Error())
		return err
	}
	n := &node{ooms: oomKills()}
	_, n.wrote = s.tail.Lines(0)
	if n.pipes, err = s.output.open(); err != nil {
		s.stick(err.Error())
		return err
	}
	n.proc, err = s.cfg.Reaper.Start(ctx, reaper.Command{
		Path:   file,
		Args:   append([]string{filepath.Base(file)}, s.args...),
		Env:    s.cfg.Env,
		Dir:    s.cfg.Dir,
		Stdout: n.pipes.stdout,
		Stderr: n.pipes.stderr,
		Bound:  true,
	})
	n.pipes.started()
	if err != nil {
		n.pipes.close()
		s.stick(err.Error())
		return err
	}
	s.node = n
	s.proc.Store(n.proc)
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	s.publish(func(st *Status) {
		st.State, st.Reason, st.Pid, st.Binary, st.Args, st.Started = Running, "", n.proc.Pid, file, s.args, n.proc.Started
	})
	level.Info(s.logger).Log("msg", "node started", "pid", n.proc.Pid, "binary", file)
	return nil
}

// lasting tells errors that another try cannot mend.
func lasting(err error) bool {
	return errors.Is(err, reaper.ErrNotFound) || errors.Is(err, reaper.ErrNotExecutable)
}

// stop ends the node's generation, if there is one, and holds the node down.
func (s *Supervisor) stop(reason string) {
	s.retry.Stop()
	if s.node != nil {
		s.settle(reason, true)
	}
	s.hold(reason)
}

// hold publishes that the node is down on purpose.
func (s *Supervisor) hold(reason string) { s.down(reason, false) }

// stick publishes that the node is down because it could not be started.
func (s *Supervisor) stick(reason string) { s.down(reason, true) }

func (s *Supervisor) down(reason string, stuck bool) {
	s.retry.Stop()
	s.publish(func(st *Status) { st.State, st.Reason, st.Held, st.Stuck = Stopped, reason, true, stuck })
}

// settle brings the present generation to its end, whether asked to or because
// its leader has exited, and reports how it ended. Nobody of it is alive
// afterwards.
func (s *Supervisor) settle(reason string, asked bool) Ended {
	n, grace := s.node, s.policy.Load().Grace
	began := time.Now()
	byItself := false
	select {
	case <-n.proc.Done():
		byItself, asked = true, false // maybe it was faster than our request
	default:
	}
	s.publish(func(st *Status) { st.State, st.Reason = Stopping, reason })
	if asked {
		level.Info(s.logger).Log("msg", "stopping node", "pid", n.proc.Pid, "why", reason, "grace", grace)
	}
	var killed bool
	_ = s.wait(func() error {
		killed = s.cfg.Reaper.Stop(n.proc, began.Add(grace))
		n.pipes.close()
		return nil
	})
	s.proc.Store(nil)
	s.node = nil

	exit := n.proc.Exit() // 137 is also what a script ends with whose program was killed
	end := Ended{
		Exit:   exit,
		At:     time.Now(),
		Uptime: time.Since(n.proc.Started),
		Asked:  asked,
		Killed: killed,
		OOM:    exit.Status() == 137 && (byItself || !killed) && oomKills() > n.ooms,
		Words:  s.tail.Word(n.wrote),
	}
	s.publish(func(st *Status) { st.Pid, st.Started, st.Last = 0, time.Time{}, &end })
	logger := log.With(s.logger, "exit", exit, "took", time.Since(began).Round(time.Millisecond), "uptime", end.Uptime.Round(time.Millisecond))
	switch {
	case killed:
		level.Warn(logger).Log("msg", "node needed SIGKILL after its grace; it may have lost its last blocks", "grace", grace)
	case end.OOM:
		level.Error(logger).Log("msg", "node was killed by the kernel: out of memory")
	case asked:
		level.Info(logger).Log("msg", "node stopped")
	default:
		level.Warn(logger).Log("msg", "node exited by itself", "last_output", end.Words)
	}
	if s.cfg.OnEnded != nil {
		s.cfg.OnEnded(end)
	}
	return end
}

// restart decides what follows an exit that nobody asked for.
func (s *Supervisor) restart(end Ended) error {
	policy := s.policy.Load()
	why := end.Exit.String()
	if end.OOM {
		why += " (out of memory)"
	}
	if end.Words != "" {
		why += ": " + end.Words
	}
	switch {
	case end.Exit.Status() == 0 && !policy.RestartOnSuccess:
		s.hold(why)
		return fmt.Errorf("%w with %s", ErrEnded, why)
	case end.Exit.Status() != 0 && !policy.RestartOnFailure:
		s.hold(why)
		return fmt.Errorf("%w with %s", ErrEnded, why)
	}
	return s.again(why, ErrCrashLoop)
}

// again enters back-off, or fails for good when the budget is spent.
func (s *Supervisor) again(why string, last error) error {
	policy := s.policy.Load()
	s.budget.max, s.budget.window = policy.MaxRestarts, policy.RestartWindow
	delay, ok := s.budget.take(time.Now())
	if !ok {
		s.publish(func(st *Status) { st.State, st.Reason = Failed, why })
		return fmt.Errorf("%w: %d restarts within %s are spent; last %s", last, policy.MaxRestarts, policy.RestartWindow, why)
	}
	level.Warn(s.logger).Log("msg", "restarting node", "in", delay.Round(time.Millisecond), "why", why)
	s.publish(func(st *Status) {
		st.State, st.Reason, st.Held, st.Stuck = Backoff, why, false, false
		st.Restarts++
		st.Spent = slices.Clone(s.budget.spent)
	})
	s.retry.Reset(delay)
	return nil
}

// wait runs f, which may take minutes, while the loop goes on showing that it
// is alive.
func (s *Supervisor) wait(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }() // waited for below
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			s.beats()
		}
	}
}

// publish replaces the status and tells the observer.
func (s *Supervisor) publish(edit func(*Status)) {
	from := s.Status()
	to := from
	edit(&to)
	if to.State != from.State {
		to.Since = time.Now()
	}
	s.status.Store(&to)
	if s.cfg.OnTransition != nil {
		s.cfg.OnTransition(from, to)
	}
}
