package backup

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// mounts are the mount points of this process, as absolute paths.
type mounts map[string]bool

// readMounts asks the kernel. st_dev would not do: a bind mount of the same file
// system has the same.
func readMounts() (mounts, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	defer f.Close()
	m := mounts{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20) // overlay mounts name all their layers
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 {
			m[unescapeMount(fields[4])] = true
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	return m, nil
}

// below returns a mount point strictly below dir, or "".
func (m mounts) below(dir string) string {
	for at := range m {
		if strings.HasPrefix(at, strings.TrimSuffix(dir, "/")+"/") {
			return at
		}
	}
	return ""
}

// unescapeMount undoes the kernel's octal escapes of space, tab, newline and
// backslash.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
