package main

import (
	"math"
	"slices"
	"strconv"
	"time"
)

// row is one thing that is measured, of all contestants.
type row struct {
	name   string
	digits int
	reduce func([]float64) float64
	values map[string][]float64

	bar    string // empty: shown for its interest
	within func(have, yard float64) bool
	needs  bool // the bar is a multiple of the yardstick
}

func newRow(name string, digits int) *row {
	return &row{name: name, digits: digits, reduce: median, values: map[string][]float64{}}
}

func (r *row) add(c string, v float64) { r.values[c] = append(r.values[c], v) }

func (r *row) addMillis(c string, d time.Duration) { r.add(c, float64(d)/1e6) }

// value returns the row's value for c, or NaN when it has none.
func (r *row) value(c string) float64 {
	if len(r.values[c]) == 0 {
		return math.NaN()
	}
	return r.reduce(r.values[c])
}

func (r *row) cell(c string) string { return number(r.value(c), r.digits) }

// ratio returns the value of c as a multiple of the yardstick's.
func (r *row) ratio(c string) string {
	return number(r.value(c)/r.value(yardname), 2)
}

// verdict says whether c keeps within the bar.
func (r *row) verdict(c string) string {
	have, yard := r.value(c), r.value(yardname)
	switch {
	case r.bar == "":
		return ""
	case math.IsNaN(have), r.needs && math.IsNaN(yard):
		return r.bar
	case r.within(have, yard):
		return r.bar + ": pass"
	default:
		return r.bar + ": FAIL"
	}
}

// atMost sets the bar to a fixed limit.
func (r *row) atMost(limit float64, unit string) *row {
	r.bar = "≤ " + strconv.FormatFloat(limit, 'f', -1, 64) + unit
	if limit == 0 {
		r.bar = "0"
	}
	r.within = func(have, _ float64) bool { return have <= limit }
	return r
}

// atMostYard sets the bar to a multiple of the yardstick.
func (r *row) atMostYard(times float64) *row {
	r.bar = "≤ " + strconv.FormatFloat(times, 'f', -1, 64) + " × " + yardname
	r.within = func(have, yard float64) bool { return have <= times*yard }
	r.needs = true
	return r
}

// of sets how the rounds make one value.
func (r *row) of(reduce func([]float64) float64) *row {
	r.reduce = reduce
	return r
}

func number(v float64, digits int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

func median(vs []float64) float64 {
	sorted := slices.Sorted(slices.Values(vs))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

func sum(vs []float64) float64 {
	total := 0.0
	for _, v := range vs {
		total += v
	}
	return total
}

// percentile returns the nearest rank of sorted, which must not be empty.
func percentile(sorted []float64, p float64) float64 {
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}
