package main

import (
	"math"
	"testing"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		row        *row
		have, yard []float64
		want       string
	}{
		{"no bar", newRow("", 0), []float64{1}, nil, ""},
		{"not measured", newRow("", 0).atMost(12, " ms"), nil, nil, "≤ 12 ms"},
		{"on the limit", newRow("", 0).atMost(12, " ms"), []float64{12, 1, 90}, nil, "≤ 12 ms: pass"},
		{"over the limit", newRow("", 0).atMost(12, " ms"), []float64{12, 13}, nil, "≤ 12 ms: FAIL"},
		{"one lost in a round", newRow("", 0).of(sum).atMost(0, ""), []float64{0, 1, 0}, nil, "0: FAIL"},
		{"as slow as allowed", newRow("", 0).atMostYard(1.5), []float64{30}, []float64{20}, "≤ 1.5 × tini: pass"},
		{"slower than allowed", newRow("", 0).atMostYard(1.5), []float64{31}, []float64{20}, "≤ 1.5 × tini: FAIL"},
		{"nothing to compare with", newRow("", 0).atMostYard(1.5), []float64{31}, nil, "≤ 1.5 × tini"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, v := range tc.have {
				tc.row.add("x", v)
			}
			for _, v := range tc.yard {
				tc.row.add(yardname, v)
			}
			if have := tc.row.verdict("x"); have != tc.want {
				t.Fatalf("want %q, have %q", tc.want, have)
			}
		})
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	sorted := make([]float64, 200)
	for i := range sorted {
		sorted[i] = float64(i + 1)
	}
	for p, want := range map[float64]float64{0: 1, 50: 100, 99: 198, 100: 200} {
		if have := percentile(sorted, p); have != want {
			t.Errorf("p%v: want %v, have %v", p, want, have)
		}
	}
	if have := median([]float64{4, 1, 3, 2}); have != 2.5 {
		t.Errorf("median: want 2.5, have %v", have)
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]float64{"1.50": 1.5, "–": math.Inf(1)} {
		if have := number(v, 2); have != want {
			t.Errorf("want %q, have %q", want, have)
		}
	}
	if have := number(math.NaN(), 2); have != "–" {
		t.Errorf("want a dash, have %q", have)
	}
}
