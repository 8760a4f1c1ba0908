package upgrade

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	supervisor "github.com/wemix/wemixvisor/init"
)

// TestVotedPlan: a vote says when a binary runs, not which. It must be there, or
// be allowed to be fetched, and be the one of the checksum.
func TestVotedPlan(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "node")
	put(t, file, newNode)
	sum, err := hashFile(context.Background(), file)
	if err != nil {
		t.Fatal(err)
	}
	sum = "sha256:" + sum
	for _, tc := range []struct {
		name   string
		staged string // script
		info   Info
		allow  bool // downloads
		want   Stage
		fault  string
		why    string
	}{
		{"staged", newNode, Info{Checksums: map[string]string{"any": sum}}, false, Done, "", ""},
		{"another is staged", badNode, Info{Checksums: map[string]string{"any": sum}}, true, NotReady, FaultChecksum, "checksum mismatch"},
		{"none is there", "", Info{Checksums: map[string]string{"any": sum}}, true, NotReady, "", "not found; put it there"},
		{"its address is not asked", "", Info{Binaries: map[string]string{"any": "file://" + file}, Checksums: map[string]string{"any": sum}}, false, NotReady, "", "allow-download-binaries"},
		{"its address has it", "", Info{Binaries: map[string]string{"any": "file://" + file}, Checksums: map[string]string{"any": sum}}, true, Done, "", ""},
		{"its address has another", "", Info{Binaries: map[string]string{"any": "file://" + file}, Checksums: map[string]string{"any": sumA}}, true, NotReady, FaultChecksum, "checksum mismatch"},
		// Of others the checksum of an archive is compared with the archive alone.
		{"another is staged for an archive", badNode, Info{Binaries: map[string]string{"any": "https://a.example/b.tar.gz"}, Checksums: map[string]string{"any": sum}}, true, NotReady, FaultChecksum, "checksum mismatch"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) { c.AllowDownload = tc.allow }).start()
			g.runs("1.0.0")
			if tc.staged != "" {
				g.stage("v2", tc.staged)
			}
			g.must(g.home.File(Plan{Name: "v2", Height: 3, By: ByGovernance, Info: tc.info}))
			e := g.becomes("v2", tc.want)
			if e.By != ByGovernance || e.Fault != tc.fault || !strings.Contains(e.Reason, tc.why) {
				t.Errorf("have %q by %s: %s", e.Fault, e.By, e.Reason)
			}
			if tc.want == NotReady && g.home.Current() != "genesis" {
				t.Error("want the node left alone")
			}
		})
	}
}

func TestFiledPlanCanBeRead(t *testing.T) {
	t.Parallel()
	h := Home{Root: t.TempDir(), Name: "wemixd"}
	want := Plan{Name: "v2", Height: 3, By: ByGovernance, Info: Info{Checksums: map[string]string{"any": sumA}}}
	if _, err := h.Filed("v2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("have %v", err)
	}
	if err := h.File(want); err != nil {
		t.Fatal(err)
	}
	if have, err := h.Filed("v2"); err != nil || have.Digest() != want.Digest() || have.By != ByGovernance {
		t.Errorf("have %+v %v", have, err)
	}
	if _, err := h.Filed("../v2"); err == nil {
		t.Error("want no way out of the queue")
	}
}
