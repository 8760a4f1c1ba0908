package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"syscall"
	"time"
)

// begun is when we did: the kernel knows it only in ticks since boot.
var begun = time.Now()

// process adds what all of Prometheus' clients tell of themselves, by the names
// they have for it.
func (e *exposition) process() {
	tell := func(name, kind, help string, p point) { e.add(name, kind, help, []point{p}) }
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap) // stops no world, as runtime.ReadMemStats does
	tell("go_goroutines", "gauge", "Goroutines of wemixvisor.", point{value: float64(runtime.NumGoroutine())})
	tell("go_info", "gauge", "The Go version wemixvisor was built with.", point{labels: label("version", runtime.Version()), value: 1})
	tell("go_memstats_heap_alloc_bytes", "gauge", "Bytes of heap objects of wemixvisor.", point{value: float64(heap[0].Value.Uint64())})

	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) == nil {
		tell("process_cpu_seconds_total", "counter", "User and system time of wemixvisor, without its children.", point{value: time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()})
	}
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil {
		tell("process_max_fds", "gauge", "File descriptors wemixvisor may have.", point{value: float64(files.Cur)})
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		tell("process_open_fds", "gauge", "File descriptors wemixvisor has.", point{value: float64(len(open) - 1)}) // one reads them
	}
	tell("process_start_time_seconds", "gauge", "When wemixvisor was started, Unix time.", point{value: float64(begun.UnixMilli()) / 1e3})
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		var virtual, resident float64 // pages, proc_pid_statm(5)
		if n, _ := fmt.Sscan(string(text), &virtual, &resident); n == 2 {
			page := float64(os.Getpagesize())
			tell("process_resident_memory_bytes", "gauge", "Resident memory of wemixvisor.", point{value: resident * page})
			tell("process_virtual_memory_bytes", "gauge", "Virtual memory of wemixvisor.", point{value: virtual * page})
		}
	}
}
