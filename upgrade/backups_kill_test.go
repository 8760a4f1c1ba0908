//go:build failpoint

package upgrade

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wemix/wemixvisor/backup"
)

// The child of the tests below: a volume, and what is done to it.
const (
	vaultRoot = "UPGRADE_TEST_VAULT"
	vaultJob  = "UPGRADE_TEST_JOB"
)

func TestVaultChild(t *testing.T) {
	root := os.Getenv(vaultRoot)
	if root == "" {
		t.Skip("for the tests below only")
	}
	v := vaultAt(t, root, nil)
	v.run()
	v.runs()
	var err error
	if id := os.Getenv(vaultJob); id == "" {
		_, err = v.Create(t.Context(), BackupOptions{})
	} else {
		_, err = v.Restore(t.Context(), id, false)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// vaultChild does one job in a process of its own, and says whether it lived.
func vaultChild(t *testing.T, root, job, point, passed string) bool {
	t.Helper()
	out, err := output([]string{os.Args[0], "-test.run=^TestVaultChild$", "-test.timeout=1m"},
		[]string{vaultRoot + "=" + root, vaultJob + "=" + job, "WEMIXVISOR_FAILPOINT=" + point, "WEMIXVISOR_FAILPOINT_LOG=" + passed})
	if err != nil && point == "" {
		t.Fatalf("%v\n%s", err, out)
	}
	return err == nil
}

// TestKillAtEachStep kills the program at every moment of a backup and of a
// restore. The next start finds the node's data old or restored, never between;
// what lists verifies, and nothing is left lying about.
func TestKillAtEachStepOfABackup(t *testing.T) {
	long := os.Getenv("WEMIXVISOR_LONG") != ""
	for _, job := range []string{"create", "restore"} {
		t.Run(job, func(t *testing.T) {
			first := newVault(t, keeper, nil)
			info, err := first.Create(t.Context(), BackupOptions{})
			if err != nil {
				t.Fatal(err)
			}
			first.runs()
			first.end()
			id := map[string]string{"restore": info.ID}[job]
			volume := func() string {
				root := t.TempDir()
				if out, err := output([]string{"cp", "-a", first.root + "/.", root}, nil); err != nil {
					t.Fatalf("%v %s", err, out)
				}
				return root
			}
			passed := filepath.Join(t.TempDir(), "passed")
			vaultChild(t, volume(), id, "", passed)
			text, err := os.ReadFile(passed)
			if err != nil {
				t.Fatal(err)
			}
			var points []string
			for _, p := range strings.Fields(string(text)) {
				if !slices.Contains(points, p) {
					points = append(points, p)
				}
			}
			if len(points) < 8 {
				t.Fatalf("want many moments, have %v", points)
			}
			for i, point := range points {
				// Those of package backup are tried there, too.
				if !long && i%4 != 0 && !strings.HasPrefix(point, "backups.") {
					continue
				}
				t.Run(point, func(t *testing.T) {
					root := volume()
					if vaultChild(t, root, id, point+"=exit", os.DevNull) {
						t.Fatal("want it killed")
					}
					v := vaultAt(t, root, nil)
					v.run()
					v.runs()
					if v.read("geth/chaindata/000001.ldb") != first.read("geth/chaindata/000001.ldb") || v.read("geth/nodekey") != first.read("geth/nodekey") {
						t.Error("want the data whole and the identity as it was")
					}
					all, err := v.List()
					if err != nil || len(all) == 0 {
						t.Fatalf("want the backups, have %v %v", all, err)
					}
					if infos, err := v.Verify(t.Context(), ""); err != nil || slices.ContainsFunc(infos, func(i backup.Info) bool { return !i.Verified }) {
						t.Errorf("want what lists to verify, have %v", err)
					}
					if n := v.snapshots(); n != 0 {
						t.Errorf("want no snapshot left, have %d", n)
					}
					for _, pattern := range []string{"backups/.[md]*", "data/.wemixvisor/incoming/*", "data/.wemixvisor/snapshots/.*", "data/.wemixvisor/swap.json"} {
						if left, _ := filepath.Glob(filepath.Join(root, pattern)); len(left) != 0 {
							t.Errorf("want nothing left, have %v", left)
						}
					}
				})
			}
		})
	}
}
