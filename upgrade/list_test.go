package upgrade

import (
	"strings"
	"testing"
	"time"

	supervisor "github.com/wemix/wemixvisor/init"
)

func TestForksBeforeAPlan(t *testing.T) {
	t.Parallel()
	at := func(s int64) *time.Time { t := time.Unix(s, 0); return &t }
	f := Facts{Height: 100, Time: time.Unix(1000, 0)}
	forks := []Fork{{Name: "london", Height: 0}, {Name: "brioche", Height: 150}, {Name: "prague", Time: time.Unix(2000, 0)}}
	for _, tc := range []struct {
		height uint64
		eta    *time.Time
		want   string
	}{
		{149, nil, ""},
		{150, nil, "brioche at block 150"},
		{151, nil, "brioche at block 150"},
		{149, at(1999), ""},
		{149, at(2000), "prague at 1970-01-01T00:33:20Z"},
	} {
		if have := crossed(forks, f, tc.height, tc.eta); tc.want == "" && have != "" || !strings.Contains(have, tc.want) {
			t.Errorf("%d: want %q, have %q", tc.height, tc.want, have)
		}
	}
	f.Height, f.Time = 150, time.Unix(2000, 0)
	if have := crossed(forks, f, 160, at(3000)); have != "" {
		t.Errorf("want nothing of forks that are past, have %q", have)
	}
}

func TestPlanPastAForkIsWarnedOf(t *testing.T) {
	t.Parallel()
	g := newRig(t, oldNode, func(c *Config, _ *supervisor.Config) {
		asked := 0
		c.Forks = func() ([]Fork, bool) {
			if asked++; asked < 3 { // a node tells them later than its head
				return nil, false
			}
			return []Fork{{Name: "brioche", Height: 1 << 40}}, true
		}
	}).start()
	g.stage("v2", newNode)
	g.head(1)
	g.must(g.Schedule(Plan{Name: "v2", Height: 1 << 41}, "", false))
	g.becomes("v2", Prepared)
	eventually(t, "warned", func() bool { e, _ := g.Entry("v2"); return strings.Contains(e.Warning, "brioche") }, nil)
	checks, err := g.Preflight(t.Context(), "v2")
	g.must(err)
	for _, c := range checks {
		if c.Name == "height" && (!c.OK || !strings.Contains(c.Detail, "brioche")) {
			t.Errorf("have %+v", c)
		}
	}
}
