package upgrade

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Holds reports whether a process of the group holds a file named LOCK below
// data: the sign that this is the folder the node works in. Nodes of the
// go-ethereum family keep one open in their instance directory and one in each
// database.
func Holds(group int, data string) bool {
	real, err := filepath.EvalSymlinks(data)
	if err != nil {
		return false
	}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if g, err := unix.Getpgid(pid); err != nil || g != group {
			continue
		}
		dir := "/proc/" + e.Name() + "/fd"
		fds, _ := os.ReadDir(dir)
		for _, fd := range fds {
			to, err := os.Readlink(filepath.Join(dir, fd.Name()))
			if err == nil && filepath.Base(to) == "LOCK" && strings.HasPrefix(to, real+"/") {
				return true
			}
		}
	}
	return false
}
