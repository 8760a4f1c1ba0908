//go:build e2e

package e2e

import (
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMetricsAreCleanAndAllThatPanelsAndRulesName(t *testing.T) {
	t.Parallel()
	b := launch(t, several, develop, holding("old"))
	b.ready()
	// What is not known yet is absent, so there is a plan and a backup.
	if code, out := b.command("upgrade", "schedule", "far", "900000", "--binary", "/opt/new/wemixd"); code != 0 {
		t.Fatalf("schedule: %d %s", code, out)
	}
	if code, out := b.command("backup", "create"); code != 0 {
		t.Fatalf("backup: %d %s", code, out)
	}
	b.ready()
	var text string
	b.until("a scrape with a sample of the running node, its plan and its backup", 30*time.Second, func() bool {
		_, text = b.get("/metrics")
		for _, name := range []string{"node_memory_bytes ", "node_height ", "upgrade_plan_ready ", "backup_last_success_timestamp_seconds"} {
			if !strings.Contains(text, "\nwemixvisor_"+name) {
				return false
			}
		}
		return true
	})

	// Debian's package prometheus; CI has it.
	if path, err := exec.LookPath("promtool"); err == nil {
		check := exec.Command(path, "check", "metrics")
		check.Stdin = strings.NewReader(text)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("promtool check metrics: %v\n%s", err, out)
		}
	} else if os.Getenv("CI") == "true" {
		t.Error(err)
	}

	have := map[string]bool{"up": true, "ALERTS": true} // Prometheus' own
	for _, m := range regexp.MustCompile(`(?m)^([a-z_]+)[ {]`).FindAllStringSubmatch(text, -1) {
		have[strings.TrimSuffix(m[1], "_bucket")] = true
		have[m[1]] = true
	}
	for _, file := range []string{"../probe/dashboard.json", "../probe/rules.yml"} {
		want := named(t, file)
		if len(want) < 10 {
			t.Fatalf("%s: want metrics named, have %v", file, want)
		}
		for _, name := range want {
			if !have[name] && !strings.HasPrefix(name, consensus) {
				t.Errorf("%s names %s, which no scrape has", file, name)
			}
		}
	}
}

// consensus is how the names of metrics begin that only a node with validators
// has; the signers' scrape is looked at for them.
const consensus = "wemixvisor_validator"

// named returns the metrics that the expressions of a file ask for.
func named(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range regexp.MustCompile(`\b(wemixvisor|process|go)_[a-z_]+\b`).FindAllString(string(text), -1) {
		names[m] = true
	}
	return slices.Sorted(maps.Keys(names))
}
