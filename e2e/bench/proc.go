package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// field returns the number after name in a status file of proc(5).
func field(file, name string) (int, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		key, rest, _ := bytes.Cut(line, []byte(":"))
		if words := bytes.Fields(rest); string(key) == name && len(words) > 0 {
			return strconv.Atoi(string(words[0]))
		}
	}
	return 0, fmt.Errorf("%s: no %s", file, name)
}

// rss returns the resident memory of pid in megabytes (10⁶ bytes).
func rss(pid int) (float64, error) {
	kib, err := field(fmt.Sprintf("/proc/%d/status", pid), "VmRSS")
	return float64(kib) * 1024 / 1e6, err
}

// switches returns how often threads of pid gave up a CPU or lost it: each of
// those was a wake-up before.
func switches(pid int) (int, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return 0, err
	}
	sum := 0
	for _, file := range files {
		for _, name := range []string{"voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"} {
			n, err := field(file, name)
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return sum, nil
}

// census counts who lives in the namespace of pid, and which ended children
// its PID 1 has yet to collect.
func census(pid int) (living, zombies int, err error) {
	root := fmt.Sprintf("/proc/%d/root/proc", pid) // its own /proc lists nobody else
	dir, err := os.Open(root)
	if err != nil {
		return 0, 0, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, 0, err
	}
	for _, name := range names {
		if _, err := strconv.Atoi(name); err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, name, "stat"))
		if err != nil {
			continue // collected meanwhile
		}
		words := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // a name may hold spaces
		switch {
		case len(words) < 2:
		case words[0][0] != 'Z':
			living++
		case string(words[1]) == "1":
			zombies++
		default:
			living++ // another parent's business
		}
	}
	return living, zombies, nil
}

// processes returns how many processes the whole machine has, ended ones that
// were not collected included. The kernel keeps that number as the link count
// of /proc, so it costs next to nothing, unlike a census of thousands, which
// takes the lock that collecting needs.
func processes() int {
	var st syscall.Stat_t
	if err := syscall.Stat("/proc", &st); err != nil {
		return 0
	}
	return int(st.Nlink)
}
