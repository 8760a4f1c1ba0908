package chain

import (
	"testing"
	"time"
)

func TestHeadAge(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	for _, tc := range []struct {
		name       string
		made, seen time.Time
		want       time.Duration
	}{
		{"fresh", ago(2), ago(1), 2 * time.Second},
		{"an old block just imported is old", ago(3600), ago(0), time.Hour},
		{"from the future and just seen", ago(-30), ago(0), 0},
		{"from the future and standing still", ago(-30), ago(90), 90 * time.Second},
		{"seen before our clock was set back", ago(-30), ago(-20), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if have := (Head{Time: tc.made, Seen: tc.seen}).Age(now); have != tc.want {
				t.Fatalf("want %s, have %s", tc.want, have)
			}
		})
	}
}

func TestLag(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		facts Facts
		want  uint64
	}{
		{"nothing known", Facts{}, 0},
		{"highest not known", Facts{HeadKnown: true, Head: Head{Number: 5}}, 0},
		{"behind", Facts{HeadKnown: true, Head: Head{Number: 5}, Highest: 58}, 53},
		{"ahead of an old figure", Facts{HeadKnown: true, Head: Head{Number: 60}, Highest: 58}, 0},
		{"head of an earlier process", Facts{Head: Head{Number: 5}, Highest: 58}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if have := tc.facts.Lag(); have != tc.want {
				t.Fatalf("want %d, have %d", tc.want, have)
			}
		})
	}
}
