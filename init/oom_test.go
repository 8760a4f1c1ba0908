package supervisor

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOOMKills(t *testing.T) {
	const (
		v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"
		v2 = "low 0\nhigh 0\nmax 9\noom 2\noom_kill 4\noom_group_kill 1\n"
	)
	for _, tc := range []struct {
		name   string
		groups string
		files  map[string]string
		want   int64
	}{
		{"v2", "0::/a/b\n", map[string]string{"a/b/memory.events": v2}, 4},
		{"v2, in a container", "0::/\n", map[string]string{"memory.events": v2}, 4},
		{"v2, with a path of the host", "0::/docker/abc\n", map[string]string{"memory.events": v2}, 4},
		{"v2, outside of the namespace's root", "0::/../x\n", map[string]string{"memory.events": v2}, 4},
		{"v1", "5:cpu,cpuacct:/x\n4:memory:/a\n", map[string]string{"memory/a/memory.oom_control": v1}, 3},
		{"v1, with a path of the host", "4:memory:/docker/abc\n", map[string]string{"memory/memory.oom_control": v1}, 3},
		{"v1, with others", "4:hugetlb,memory:/a\n", map[string]string{"memory/a/memory.oom_control": v1}, 3},
		{"both, memory in v1", "4:memory:/a\n0::/a\n", map[string]string{"memory/a/memory.oom_control": v1, "a/memory.events": v2}, 3},
		{"both, memory in v2", "4:cpuset:/a\n0::/a\n", map[string]string{"a/memory.events": v2}, 4},
		{"v1 of an old kernel", "4:memory:/a\n", map[string]string{"memory/a/memory.oom_control": "oom_kill_disable 0\n"}, 0},
		{"a path with colons", "0::/a:b:c\n", map[string]string{"a:b:c/memory.events": v2}, 4},
		{"no files", "4:memory:/a\n0::/a\n", nil, 0},
		{"nothing", "", nil, 0},
		{"noise", "x\n::\n0:\n", map[string]string{"memory.events": "oom_kill many\n"}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range tc.files {
				file := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if have := oomKillsOf(root, []byte(tc.groups)); have != tc.want {
				t.Errorf("want %d, have %d", tc.want, have)
			}
		})
	}
}
