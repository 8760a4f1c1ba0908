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
	b := launch(t, image, develop)
	b.ready()
	var text string
	b.until("a scrape with a sample of the running node", 30*time.Second, func() bool {
		_, text = b.get("/metrics")
		_, sampled := value(text, "wemixvisor_node_memory_bytes")
		return sampled
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
			if !have[name] {
				t.Errorf("%s names %s, which no scrape has", file, name)
			}
		}
	}
}

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
