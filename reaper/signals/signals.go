// Package signals takes hold of every catchable signal before anything else
// in the program runs.
//
// A signal that arrives before signal.Notify ends a Go program with status 2;
// as PID 1 that is the end of the container. So the subscription is made in
// this package's init, and the package imports nothing that would delay it.
package signals

import (
	"os"
	"os/signal"
	"syscall"
)

// C receives every signal but SIGCHLD. It is large because os/signal drops
// what does not fit, and its reader does nothing but kill(2).
var C = make(chan os.Signal, 4096)

// Child receives SIGCHLD. One place is enough: the signal coalesces in the
// kernel anyway, so its reader collects until nobody is left.
var Child = make(chan os.Signal, 1)

func init() {
	signal.Notify(C, all()...)
	signal.Notify(Child, syscall.SIGCHLD)
}

// Default gives the signals their usual effect back. Commands that are not an
// init call it, so that Ctrl-C ends them.
func Default() {
	signal.Reset(all()...) // SIGCHLD stays: they start helpers too
	select {
	case s := <-C: // it came before we knew which command this is
		if n, ok := s.(syscall.Signal); ok {
			_ = syscall.Kill(os.Getpid(), n)
		}
	default:
	}
}

// all lists what Go lets a program catch: SIGKILL and SIGSTOP cannot be caught,
// SIGURG and SIGPROF belong to the Go runtime, 32 to 34 to the C library. (And
// SIGPIPE stays lost when our parent ignored it: the runtime goes on with that.)
func all() []os.Signal {
	var list []os.Signal
	for n := syscall.Signal(1); n <= 64; n++ {
		switch n {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGURG, syscall.SIGPROF, syscall.SIGCHLD, 32, 33, 34:
		default:
			list = append(list, n)
		}
	}
	return list
}
