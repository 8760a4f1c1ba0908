package upgrade

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/reaper"
)

func TestFetchedBinary(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "node")
	put(t, file, newNode)
	sum, err := hashFile(context.Background(), file)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		allow bool
		sum   string
		want  Stage
		fault string
		why   string
	}{
		{"fetched", true, "sha256:" + sum, Done, "", ""},
		{"wrong checksum", true, sumA, NotReady, FaultChecksum, "checksum"},
		{"not allowed", false, "sha256:" + sum, NotReady, "", "allow-download-binaries"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) { c.AllowDownload = tc.allow }).start()
			g.plan(`{"name":"v2","info":{"binaries":{"any":"file://` + file + `"},"checksums":{"any":"` + tc.sum + `"}}}`)
			e := g.becomes("v2", tc.want)
			if e.Fault != tc.fault || !strings.Contains(e.Reason, tc.why) {
				t.Errorf("have %q: %s", e.Fault, e.Reason)
			}
			if _, err := os.Stat(filepath.Join(g.home.Dir(), "upgrades", "v2")); (err == nil) != (tc.want == Done) {
				t.Errorf("its folder: %v", err)
			}
		})
	}
	t.Run("staged with another checksum", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, oldNode, nil).start()
		g.must(g.Schedule(Plan{Name: "v2", Info: Info{Checksums: map[string]string{"any": sumA}}}, file, false))
		e, err := g.Await(context.Background(), "v2")
		g.must(err)
		if e.Stage != NotReady || e.Fault != FaultChecksum {
			t.Errorf("have %s, %s: %s", e.Stage, e.Fault, e.Reason)
		}
	})
}

func TestStageReplacesOnlyTheBinary(t *testing.T) {
	t.Parallel()
	h := lay(t, t.TempDir(), oldNode)
	file := filepath.Join(t.TempDir(), "node")
	for _, script := range []string{newNode, badNode} {
		put(t, file, script)
		if err := h.Stage(file, "v2"); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(h.Dir(), "upgrades/v2/pre-upgrade"), "#!/bin/sh")
	}
	if b, _ := os.ReadFile(h.binary("upgrades/v2")); string(b) != badNode {
		t.Error("it was not replaced")
	}
	if _, err := os.Stat(filepath.Join(h.Dir(), "upgrades/v2/pre-upgrade")); err != nil {
		t.Error(err)
	}
	if err := h.Switch("upgrades/v2"); err != nil {
		t.Fatal(err)
	}
	if err := h.Stage(file, "v2"); err == nil {
		t.Error("want the one in use left alone")
	}
	if err := h.Stage(file+"x", "v3"); !errors.Is(err, reaper.ErrNotFound) {
		t.Errorf("have %v", err)
	}
}
