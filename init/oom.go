package supervisor

import (
	"bufio"
	"bytes"
	"os"
	"path"
	"strconv"
	"strings"
)

// oomKills returns how many processes of our control group the kernel has
// killed for memory: memory.events of cgroup v2, memory.oom_control of v1
// (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst). 0 when
// neither can be read.
func oomKills() int64 {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	return oomKillsOf("/sys/fs/cgroup", b)
}

// oomKillsOf reads below root what the lines of a /proc/PID/cgroup name. In a
// container those may be paths of the host, while the mount already shows our
// own group: then the mount's root is it.
func oomKillsOf(root string, groups []byte) int64 {
	for line := range bytes.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(parts) != 3 {
			continue
		}
		dir, file := "", "memory.events"
		switch {
		case parts[1] == "" && parts[0] == "0":
		case strings.Contains(","+parts[1]+",", ",memory,"):
			dir, file = "memory", "memory.oom_control"
		default:
			continue
		}
		for _, group := range []string{parts[2], "/"} {
			if n, ok := field(path.Join(root, dir, group, file), "oom_kill"); ok {
				return n
			}
		}
	}
	return 0
}

// field returns the number behind key in a file of "key number" lines.
func field(file, key string) (int64, bool) {
	f, err := os.Open(file)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if k, v, ok := strings.Cut(lines.Text(), " "); ok && k == key {
			n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
