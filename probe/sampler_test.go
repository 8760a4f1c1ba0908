package probe

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestSamplerMeasuresThisMachine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	samples := make(chan Resources)
	s := NewSampler(SamplerConfig{
		Interval: time.Millisecond,
		Paths:    []string{dir, filepath.Join(dir, "not", "yet"), "/dev/null/x"},
		PID:      os.Getpid,
		OnSample: func(r Resources) { samples <- r },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }() // joined below
	<-samples
	r := <-samples // the second: it goes on
	go func() {    // ends with Run: it may be in the middle of a push
		for range samples {
		}
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, have %v", err)
	}
	close(samples)
	if m := r.Memory; m.RSS < 1<<20 || m.Held == 0 || m.Held > m.RSS || m.Limit < m.RSS {
		t.Errorf("want our own memory, have %+v", m)
	}
	if len(r.Disks) != 3 || r.At.IsZero() || !r.Until.After(r.At) {
		t.Fatalf("want three disks, have %+v", r)
	}
	if d := r.Disks[0]; d.Err != "" || d.Size == 0 || d.Free == 0 || d.Free > d.Size || d.Path != dir {
		t.Errorf("want the disk of %s, have %+v", dir, d)
	}
	if d := r.Disks[1]; d.Err != "" || d.Size != r.Disks[0].Size {
		t.Errorf("want the disk it will be on, have %+v", d)
	}
	if d := r.Disks[2]; d.Err != "not a directory" {
		t.Errorf("want why it is not known, have %+v", d)
	}
}

func TestMemoryOfAGroup(t *testing.T) {
	t.Parallel()
	const host = "MemTotal:       1000 kB\nMemFree:  10 kB\n"
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  Memory
	}{
		{
			name:  "node and its child, not a stranger",
			files: map[string]string{"proc/42/stat": "42 (node) S 1 42 42 0", "proc/43/stat": "43 (a) b) R) S 42 42 42 0", "proc/44/stat": "44 (x) S 1 44 44 0", "proc/44/status": "VmRSS: 500 kB\n"},
			want:  Memory{RSS: 150 << 10, Held: 110 << 10, Limit: 1000 << 10},
		},
		{
			name:  "cgroup v2, a parent binds",
			files: map[string]string{"proc/42/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "409600\n"},
			want:  Memory{RSS: 100 << 10, Held: 60 << 10, Limit: 400 << 10},
		},
		{
			name:  "cgroup v2 of a container that sees only itself",
			files: map[string]string{"proc/42/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "204800\n"},
			want:  Memory{RSS: 100 << 10, Held: 60 << 10, Limit: 200 << 10},
		},
		{
			name:  "cgroup v1 of a container whose path is the host's",
			files: map[string]string{"proc/42/cgroup": "5:cpu:/docker/x\n4:memory:/docker/x\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "307200\n"},
			want:  Memory{RSS: 100 << 10, Held: 60 << 10, Limit: 300 << 10},
		},
		{
			name:  "cgroup v1 without a limit",
			files: map[string]string{"proc/42/cgroup": "4:cpuset,memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "9223372036854771712\n"},
			want:  Memory{RSS: 100 << 10, Held: 60 << 10, Limit: 1000 << 10},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			write := func(name, text string) {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			write("proc/meminfo", host)
			write("proc/42/stat", "42 (node) S 1 42 42 0")
			write("proc/42/status", "Name:\tnode\nVmRSS:\t100 kB\nRssFile:\t40 kB\n")
			write("proc/43/status", "VmRSS: 50 kB\n")
			for name, text := range tc.files {
				write(name, text)
			}
			if have := readMemory(root, 42); have != tc.want {
				t.Fatalf("want %+v, have %+v", tc.want, have)
			}
		})
	}
	if have := readMemory(strconv.Itoa(0), 0); have != (Memory{}) {
		t.Errorf("want nothing of a node that is down, have %+v", have)
	}
}

func TestTrend(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		free []uint64 // a minute apart
		want time.Duration
	}{
		{"one sample", []uint64{100}, 0},
		{"a burst is no trend", []uint64{100, 50}, 0},
		{"ten a minute", []uint64{100, 90, 80}, 8 * time.Minute},
		{"not filling", []uint64{100, 100, 110}, 0},
		{"emptied again", []uint64{100, 10, 100}, 0},
		{"full", []uint64{100, 50, 0}, time.Second},
		{"what was before the window is forgotten", append([]uint64{1000}, repeat(100, 31)...), 0},
		{"in ten thousand years", []uint64{1 << 50, 1<<50 - 1, 1<<50 - 2}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var tr trend
			var have time.Duration
			for i, free := range tc.free {
				have = tr.add(noon.Add(time.Duration(i)*time.Minute), free)
			}
			if have != tc.want {
				t.Fatalf("want full in %s, have %s", tc.want, have)
			}
		})
	}
}

func repeat(n uint64, times int) []uint64 {
	s := make([]uint64, times)
	for i := range s {
		s[i] = n
	}
	return s
}
