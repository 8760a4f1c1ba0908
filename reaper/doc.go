// Package reaper knows the kernel: it starts processes, signals them and is
// the one caller of wait4(2) in the program.
//
// One waiter is a rule of correctness. wait4(-1), which an init needs to
// collect orphans, also takes the statuses that os/exec waits for; a pidfd
// does not help, it is waitid(2) underneath. So every process of the program
// starts here, and the linter keeps os/exec and wait4 out of other packages.
//
// What a started process finds, whatever our own parent left us: no blocked
// signal, default dispositions, a process group of its own, the descriptors 0,
// 1 and 2 and no other, and the resource limits we were given.
//
// Orphans become our children because we are PID 1, or else a child subreaper
// (PR_SET_CHILD_SUBREAPER in prctl(2)). So "everybody the node left behind" is
// "every orphan we have that is not in the group of another process of ours,
// and what is below it", which is what [Reaper.Stop] ends.
//
// kill(2) and wait4(2) happen under one mutex: a process identifier that we
// have not collected cannot be reused, hence a signal never hits a stranger. One
// that was collected can: a [Process] is never looked up by its number alone.
package reaper
