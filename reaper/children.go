package reaper

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// orphans returns the processes that became our children, ended ones that were
// not collected included.
//
// A child belongs to the thread that forked it, and the kernel gives an orphan
// to the first thread. So whatever the forking thread has is no orphan, not
// even a process that is being started and is not registered yet. (A kernel
// without these lists cannot tell.)
func orphans(forker int) []int {
	var pids []int
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	readable := false
	for _, list := range lists {
		if list == fmt.Sprintf("/proc/self/task/%d/children", forker) {
			continue
		}
		b, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		readable = true
		for field := range bytes.FieldsSeq(b) {
			pids = append(pids, decimal(string(field)))
		}
	}
	if readable {
		return pids
	}
	return childrenByScan() // a kernel without CONFIG_PROC_CHILDREN
}

func childrenByScan() []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid := decimal(e.Name())
		if pid > 0 && parent(pid) == os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// parent returns the parent of pid, or 0. The command's name in stat, see
// proc(5), may hold spaces and parentheses, so fields count from its end.
func parent(pid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	return decimal(string(fields[1]))
}

// decimal returns the number s is, or -1.
func decimal(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}
