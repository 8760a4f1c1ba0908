package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestPaceKeepsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pace{rate: 10 << 20}
		start := time.Now()
		for range 100 {
			if err := p.wait(t.Context(), 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took < 9800*time.Millisecond || took > 10*time.Second {
			t.Errorf("want 100 MiB at 10 MiB/s to take 10 s, took %s", took)
		}
		time.Sleep(time.Hour) // what was not used for an hour does not count
		start = time.Now()
		for range 20 {
			if err := p.wait(t.Context(), 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took < 1800*time.Millisecond {
			t.Errorf("want 2 s, took %s", took)
		}
	})
}

func TestPaceMakesRoomForOthers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pressure")
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		waits := func(share float64) { // what the kernel would say at this moment
			total := int64(float64(time.Since(start).Microseconds()) * share)
			text := fmt.Sprintf("some avg10=0.00 avg60=0.00 avg300=0.00 total=%d\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", total)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		runs := true
		p := pace{gentle: func() bool { return runs }, pressure: file}
		step := func(share float64) time.Duration {
			t.Helper()
			waits(share)
			time.Sleep(2 * time.Second)
			waits(share)
			before := time.Now()
			if err := p.wait(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			return time.Since(before)
		}
		step(0)
		if waited := step(0.1); waited != 0 {
			t.Errorf("waited %s though nobody else does", waited)
		}
		if waited := step(0.9); waited != lookEvery { // the file says the same a second later: nobody waits any more
			t.Errorf("want a pause of %s, have %s", lookEvery, waited)
		}
		runs = false
		if waited := step(0.99); waited != 0 {
			t.Errorf("waited %s though no node runs", waited)
		}
	})
}

func TestPaceEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		p := pace{rate: 1}
		if err := p.wait(c, 1<<20); !errors.Is(err, context.Canceled) {
			t.Errorf("have %v", err)
		}
	})
}

func TestNames(t *testing.T) {
	for _, pair := range [][2]string{{".", "a"}, {"a", "a/b"}, {"a/b", "a-b"}, {"a/z", "a-"}, {"a", "b"}, {"a/b", "a/c"}, {"a", "a\x01"}} {
		if !follows(pair[0], pair[1]) || follows(pair[1], pair[0]) {
			t.Errorf("want %q before %q", pair[0], pair[1])
		}
	}
	for link, out := range map[[2]string]bool{
		{"a/l", "../b"}: false, {"a/l", "../../b"}: true, {"l", ".."}: true, {"l", "."}: false, {"a/l", "/"}: true, {"a/b/l", "../../c/../.."}: true, {"l", "..x"}: false,
	} {
		if have := leadsOut(link[0], link[1]); have != out {
			t.Errorf("%q: want %v", link, out)
		}
	}
}
