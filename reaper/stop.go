package reaper

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// rescan finds those whose parent ended without a SIGCHLD to us: a daemon
// below somebody else's child becomes ours silently.
const rescan = 250 * time.Millisecond

// Stop ends the generation of p: its process group and every orphan below us
// that is not in the group of another process of ours. They get SIGTERM once (and SIGCONT:
// a stopped process would keep it pending), then have until deadline, then get
// SIGKILL until nobody is left. It returns as soon as nobody is left, and
// whether SIGKILL was needed. A p that has ended already may still have left
// others behind.
func (r *Reaper) Stop(p *Process, deadline time.Time) (killed bool) {
	told := map[int]bool{} // of those who were there at the last look
	grace := time.NewTimer(time.Until(deadline))
	defer grace.Stop()
	again := time.NewTicker(rescan)
	defer again.Stop()
	late := false
	for {
		changed := r.next()
		seen := map[int]bool{p.Pid: told[p.Pid]}
		if left := r.generation(p, func(pid, group int) {
			if late {
				killed = true
				r.signal(pid, group, p.Pid, unix.SIGKILL)
				return
			}
			leader := pid
			if group == p.Pid {
				leader = group // one signal to the group reaches all who are in it
			}
			if seen[leader] = true; told[leader] {
				return
			}
			told[leader] = true
			r.signal(pid, group, p.Pid, unix.SIGTERM)
			r.signal(pid, group, p.Pid, unix.SIGCONT)
		}); left == 0 {
			return killed
		}
		told = seen // a number that is free again may be somebody else's next
		select {
		case <-changed:
		case <-again.C:
		case <-grace.C:
			late = true
		}
	}
}

// signal sends sig to pid, or to its whole group when that is the leader's. The
// caller holds the mutex and saw pid among our children, so the group exists.
func (r *Reaper) signal(pid, group, leader int, sig syscall.Signal) {
	if group == leader {
		_ = syscall.Kill(-leader, sig)
		return
	}
	_ = syscall.Kill(pid, sig)
}

// generation calls visit, under the mutex, for p, if it is alive, and for each
// orphan that is not in the group of another process of ours. It returns how
// many there are.
func (r *Reaper) generation(p *Process, visit func(pid, group int)) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	if r.procs[p.Pid] == p {
		n++
		visit(p.Pid, p.Pid)
	}
	for _, pid := range orphans(int(r.forker.Load())) {
		group, err := unix.Getpgid(pid)
		if err != nil || r.procs[pid] != nil {
			continue
		}
		if other := r.procs[group]; other != nil && other != p {
			continue
		}
		n++
		visit(pid, group)
	}
	return n
}
