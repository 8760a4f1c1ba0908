package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is what the node's process group occupies.
type Memory struct {
	RSS   uint64 // resident bytes; 0 when the node is down
	Held  uint64 // of these, what the kernel can't take back by dropping file pages
	Limit uint64 // of its cgroup, else of the host; 0 unknown
}

// memoryCheck judges what is held, not what is resident: a node that maps its
// database has most of it resident, and gives it back when asked.
func (p *Prober) memoryCheck() Check {
	r := p.Resources()
	m := r.Memory
	if m.Limit == 0 || m.RSS == 0 {
		return check("memory", "")
	}
	share := 100 * float64(m.Held) / float64(m.Limit)
	if !p.memory.over(share > p.cfg.MaxMemory, share <= p.cfg.MaxMemory-2) {
		return check("memory", "")
	}
	return check("memory", fmt.Sprintf("node holds %s, %.0f%% of its limit of %s", size(m.Held), share, size(m.Limit)))
}

// readMemory adds up the process group that pid leads. root is / save in tests.
func readMemory(root string, pid int) Memory {
	if pid <= 0 {
		return Memory{}
	}
	m := Memory{Limit: memoryLimit(root, pid)}
	entries, err := os.ReadDir(filepath.Join(root, "proc"))
	if err != nil {
		return m
	}
	for _, e := range entries {
		member, err := strconv.Atoi(e.Name())
		if err != nil || group(root, member) != pid && member != pid {
			continue
		}
		status := readFields(filepath.Join(root, "proc", e.Name(), "status"))
		rss, file := status["VmRSS"], status["RssFile"]
		m.RSS += rss
		m.Held += rss - min(file, rss)
	}
	return m
}

// group returns the process group of pid, 0 when it is gone. The command may
// hold spaces and parentheses: fields count from the last one.
func group(root string, pid int) int {
	data, err := os.ReadFile(filepath.Join(root, "proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data[strings.LastIndexByte(string(data), ')')+1:]), " ")
	if fields := strings.Fields(rest); len(fields) > 2 {
		pgrp, _ := strconv.Atoi(fields[2]) // state, ppid, pgrp
		return pgrp
	}
	return 0
}

// memoryLimit returns the lowest limit of the cgroups that pid is in, v1 or v2,
// and at most the host's memory.
func memoryLimit(root string, pid int) uint64 {
	limit := readFields(filepath.Join(root, "proc/meminfo"))["MemTotal"]
	data, err := os.ReadFile(filepath.Join(root, "proc", strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return limit
	}
	lower := func(file string) {
		text, err := os.ReadFile(file)
		if err != nil {
			return
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && n > 0 && (limit == 0 || n < limit) { // "max", and v1's huge number, are none
			limit = n
		}
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		var mount, file string
		switch {
		case fields[0] == "0":
			mount, file = "sys/fs/cgroup", "memory.max"
		case strings.Contains(","+fields[1]+",", ",memory,"):
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// Up to the mount's root: a parent's limit binds too, and in a container
		// the path may be the host's while the mount shows only our own group.
		for path := filepath.Clean("/" + fields[2]); ; path = filepath.Dir(path) {
			lower(filepath.Join(root, mount, path, file))
			if path == "/" {
				break
			}
		}
	}
	return limit
}

// readFields reads the "Key: N kB" lines of a file of /proc, in bytes.
func readFields(path string) map[string]uint64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	fields := make(map[string]uint64)
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		words := strings.Fields(value)
		if len(words) != 2 || words[1] != "kB" {
			continue
		}
		if n, err := strconv.ParseUint(words[0], 10, 64); err == nil {
			fields[key] = n << 10
		}
	}
	return fields
}

// size writes bytes for people.
func size(n uint64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	units := "KMGTPE"
	f, i := float64(n)/(1<<10), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
