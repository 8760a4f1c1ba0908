package chain

import (
	"fmt"
	"testing"
)

func TestQuorum(t *testing.T) {
	t.Parallel()
	for kind, of := range map[string]map[int]int{
		WBFT:   {0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: 5, 7: 5, 10: 7, 40: 27},
		QBFT:   {1: 1, 4: 3, 7: 5, 10: 7, 40: 27},
		Clique: {1: 1, 3: 2, 4: 3, 5: 3},
		Wemix:  {1: 1, 2: 2, 3: 2, 5: 3},
	} {
		for n, want := range of {
			if have := quorum(kind, n); have != want {
				t.Errorf("%s: want %d of %d, have %d", kind, want, n, have)
			}
		}
	}
	for n := 1; n <= maxValidators; n++ { // the same without floats: ceil((2n+1)/3)
		if want, have := (2*n+1+2)/3, quorum(WBFT, n); have != want {
			t.Fatalf("want %d of %d, have %d", want, n, have)
		}
	}
}

func TestRolloutCountsVersions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"v1.0.1", "1.0.1-stable", true},
		{"v1.0.1", "v1.0.1-stable-940e9f28", true},
		{"v1.0.1", "v1.0.1+build7", true},
		{"v1.0.1", "v1.0.10", false},
		{"v1.0.10", "v1.0.1", true},
		{"v0.10.9", "v1.0.1", false},
		{"v2.0.0", "1.9.9-stable", true},
		{"v1.0", "v1.0.1", false},
		{"v1.0.1", "v1.0", true},
		{"v1.x", "v1.x", true},
		{"v1.x", "v1.y", false},
		{"", "v1.0.0", false},
	} {
		if have := atLeast(tc.a, tc.b); have != tc.want {
			t.Errorf("want %v of %q at least %q, have %v", tc.want, tc.a, tc.b, have)
		}
	}
	c := Consensus{Quorum: 3}
	for i, v := range []string{"v1.0.1", "v1.1.0", "v1.0.0", ""} {
		c.Validators = append(c.Validators, Validator{Address: fmt.Sprint(i), Version: v})
	}
	if have, want := c.Rollout("1.0.1-stable"); have != 2 || want != 3 {
		t.Errorf("want 2 of 3, have %d of %d", have, want)
	}
}
