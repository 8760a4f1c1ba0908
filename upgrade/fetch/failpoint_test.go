//go:build failpoint

package fetch

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEndAtEveryStep(t *testing.T) {
	t.Parallel()
	content := program(300_000)
	archive := packers[tarZst](t, entry{name: "bin/wemixd", body: content})
	for _, tc := range []struct {
		name   string
		sent   []byte
		points string
	}{
		{"as it is", content, "emptied emptied recorded received synced unpacked staged renamed placed cleared"},
		{"archive", archive, "emptied emptied recorded received synced verified unpacked staged renamed placed cleared"},
	} {
		s := serve(t, tc.sent, nil)
		begin := func(env ...string) (volume, *exec.Cmd) {
			v := newVolume(t)
			return v, child{Dir: v.cfg.Dir, URL: s.URL, Checksum: "sha256:" + sum(tc.sent), Dest: v.dest}.command(t, env...)
		}
		log := filepath.Join(t.TempDir(), "log")
		v, cmd := begin("WEMIXVISOR_FAILPOINT_LOG=" + log)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		v.holds(t, content)
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		passed := strings.Fields(strings.ReplaceAll(string(text), "fetch.", ""))
		if want := strings.Fields(tc.points); !slices.Equal(want, passed) {
			t.Fatalf("want points %v, have %v", want, passed)
		}
		for i, point := range passed {
			nth := 1
			if i > 0 && point == passed[i-1] {
				nth = 2
			}
			t.Run(tc.name+" "+point, func(t *testing.T) {
				v, cmd := begin("WEMIXVISOR_FAILPOINT=fetch." + point + "#" + string(rune('0'+nth)) + "=exit")
				var exit *exec.ExitError
				if out, err := cmd.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != 137 {
					t.Fatalf("want it gone, have %v: %s", err, out)
				}
				have, err := os.ReadFile(v.dest)
				_, folders := os.Lstat(filepath.Dir(filepath.Dir(v.dest)))
				switch placed := slices.Contains([]string{"renamed", "placed", "cleared"}, point); {
				case placed && !bytes.Equal(content, have):
					t.Fatalf("want it whole, have %d bytes, %v", len(have), err)
				case !placed && !errors.Is(folders, fs.ErrNotExist):
					t.Fatal("want nothing at the destination, not even its folders")
				}
				if _, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(tc.sent)}); err != nil {
					t.Fatal(err)
				}
				v.holds(t, content)
			})
		}
	}
}
