package upgrade

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

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

// custodyEvery bounds how often /proc is searched for the node's lock.
const custodyEvery = 250 * time.Millisecond

// uncustodied says so when the node does not work in the data directory: then a
// snapshot of that protects nothing. Of a node that is down, what was seen of it
// before counts.
func (u *Upgrader) uncustodied(pid int, now time.Time) string {
	if u.cfg.SkipBackup {
		return ""
	}
	why := fmt.Sprintf("the node holds no LOCK below data-dir %s, so a snapshot of that would protect nothing; set data-dir or the node's --datadir", u.cfg.Data)
	if pid == 0 {
		if u.journal.read().Custody == u.cfg.Data {
			return ""
		}
		return why
	}
	if u.custody.pid == pid && (u.custody.holds || now.Sub(u.custody.at) < custodyEvery) {
		if u.custody.holds {
			return ""
		}
		return why
	}
	u.custody.pid, u.custody.at, u.custody.holds = pid, now, Holds(pid, u.cfg.Data)
	if !u.custody.holds {
		return why
	}
	if u.journal.read().Custody != u.cfg.Data {
		u.record("note the data directory", func(s *state) { s.Custody = u.cfg.Data })
	}
	return ""
}

// custody is the last answer of Holds.
type custody struct {
	pid   int
	holds bool
	at    time.Time
}
