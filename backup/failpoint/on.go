//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

var (
	mu     sync.Mutex
	passed = map[string]int{}
)

// At marks the moment called name.
func At(name string) {
	mu.Lock()
	defer mu.Unlock()
	passed[name]++
	if file := os.Getenv("WEMIXVISOR_FAILPOINT_LOG"); file != "" {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(f, name)
		if err := f.Close(); err != nil {
			panic(err)
		}
	}
	where, action, _ := strings.Cut(os.Getenv("WEMIXVISOR_FAILPOINT"), "=")
	where, nth, counted := strings.Cut(where, "#")
	if where != name {
		return
	}
	if n, _ := strconv.Atoi(nth); counted && n != passed[name] {
		return
	}
	switch action {
	case "exit": // not SIGKILL: the kernel does not let PID 1 send that to itself
		os.Exit(137)
	case "term":
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	default:
		panic("failpoint " + name + ": exit or term, not " + action)
	}
}
