package reaper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/reaper/signals"
)

// Reaper starts processes and collects every child that ends.
type Reaper struct {
	forks  chan fork
	forker atomic.Int64 // the thread that forks
	reaped atomic.Uint64

	mu       sync.Mutex // held across wait4 and kill: nothing is signalled after it was collected
	procs    map[int]*Process
	starting int          // forks whose pid is not registered yet
	parked   map[int]Exit // who ended before its registration
	changed  chan struct{}
}

// New returns a Reaper. Don't forget to Run it.
func New() *Reaper {
	return &Reaper{
		forks:   make(chan fork),
		procs:   map[int]*Process{},
		parked:  map[int]Exit{},
		changed: make(chan struct{}),
	}
}

// Reaped returns how many orphans were collected: children that we did not start.
func (r *Reaper) Reaped() uint64 { return r.reaped.Load() }

// Run collects children until ctx is done. It must outlive everything that
// starts or stops a process.
func (r *Reaper) Run(ctx context.Context) error {
	if err := adoptOrphans(); err != nil {
		return err
	}
	if err := unignore(); err != nil {
		return err
	}
	stop := make(chan struct{})
	var forker sync.WaitGroup
	forker.Go(func() { r.fork(stop) })
	defer forker.Wait()
	defer close(stop)

	r.collect() // what ended before we listened
	for {
		select {
		case <-ctx.Done():
			r.collect()
			return ctx.Err()
		case <-signals.Child:
			r.collect()
		}
	}
}

// adoptOrphans makes us the parent of every orphan below us. PID 1 is that already.
func adoptOrphans() error {
	if os.Getpid() == 1 {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become child subreaper: %w", err)
	}
	return nil
}

// collect takes every ended child. SIGCHLD coalesces, so one notification may
// stand for thousands.
func (r *Reaper) collect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	some := false
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 { // ECHILD, or all who are left are alive
			break
		}
		if !ws.Exited() && !ws.Signaled() {
			continue // a traced child that stopped, not ours to judge
		}
		some = true
		exit := exitOf(ws)
		switch p := r.procs[pid]; {
		case p != nil:
			delete(r.procs, pid)
			p.end(exit)
		case r.starting > 0:
			r.parked[pid] = exit
		default:
			r.reaped.Add(1)
		}
	}
	if some {
		close(r.changed)
		r.changed = make(chan struct{})
	}
}

// next returns a channel that closes when the next child was collected.
func (r *Reaper) next() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// fork is a request to the one thread that forks.
type fork struct {
	cmd   Command
	reply chan forked
}

type forked struct {
	p   *Process
	err error
}

// fork serves requests on one thread that lives as long as the Reaper: a
// parent-death signal (prctl(2), PR_SET_PDEATHSIG) fires when the thread that
// forked ends, not when the process does.
func (r *Reaper) fork(stop <-chan struct{}) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() { // the first thread gets the orphans, see orphans
		var other sync.WaitGroup
		other.Go(func() { r.fork(stop) }) // on another one, as we sit on this
		other.Wait()
		runtime.UnlockOSThread()
		return
	}
	r.forker.Store(int64(unix.Gettid()))
	for {
		select {
		case <-stop:
			return // without unlocking: the thread's signal mask ends with it
		case req := <-r.forks:
			p, err := r.start(req.cmd)
			req.reply <- forked{p, err}
		}
	}
}

// Start runs cmd. The mutex is not held over the fork, which blocks for as
// long as the file system takes to answer execve(2): signals go on meanwhile.
func (r *Reaper) Start(ctx context.Context, cmd Command) (*Process, error) {
	if ctx.Err() != nil { // select would choose at random
		return nil, ctx.Err()
	}
	reply := make(chan forked, 1)
	select {
	case r.forks <- fork{cmd, reply}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	res := <-reply
	return res.p, res.err
}

func (r *Reaper) start(cmd Command) (*Process, error) {
	r.mu.Lock()
	r.starting++
	r.mu.Unlock()

	started := time.Now()
	pid, err := cmd.fork()

	r.mu.Lock()
	defer r.mu.Unlock()
	r.starting--
	var p *Process
	if err == nil {
		p = &Process{Pid: pid, Started: started, r: r, done: make(chan struct{})}
		if exit, ended := r.parked[pid]; ended && !isChild(pid) {
			delete(r.parked, pid)
			p.end(exit)
		} else {
			r.procs[pid] = p
		}
	}
	if r.starting == 0 {
		r.reaped.Add(uint64(len(r.parked)))
		clear(r.parked)
	}
	return p, err
}

// isChild reports whether pid is a child that was not collected. Then a parked
// exit under its number is that of an orphan who had the number before.
func isChild(pid int) bool {
	return unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil
}
