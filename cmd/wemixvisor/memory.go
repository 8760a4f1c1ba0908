package main

import (
	"debug/elf"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// memoryLimit keeps our heap small beside a node that wants all the memory.
const memoryLimit = 64 << 20

// forgetStart gives back what only the start needed: of the heap, and of the program's
// own code and constants. Each package has some, and with each page the kernel maps fifteen around
// it (do_fault_around in mm/memory.c): two thirds of what we hold. What is used again
// is mapped again, out of the page cache, as at first (MADV_DONTNEED in madvise(2)).
func forgetStart() {
	program, err := elf.Open("/proc/self/exe")
	if err != nil {
		return
	}
	defer program.Close()
	if program.Type != elf.ET_EXEC {
		return // its constants may have been relocated, in memory alone
	}
	size := uint64(os.Getpagesize())
	for _, p := range program.Progs {
		if p.Type != elf.PT_LOAD || p.Flags&elf.PF_W != 0 {
			continue
		}
		begin, end := p.Vaddr&^(size-1), (p.Vaddr+p.Memsz)&^(size-1) // the last page may be another's
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(begin), uintptr(end-begin), unix.MADV_DONTNEED)
	}
	debug.FreeOSMemory()
}
