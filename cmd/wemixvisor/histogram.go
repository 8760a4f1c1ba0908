package main

import (
	"slices"
	"strconv"
	"sync"
)

// histogram counts values by size, as Prometheus wants them: the library's own
// histograms have buckets that Prometheus cannot read.
type histogram struct {
	bounds []float64 // rising

	mu     sync.Mutex
	counts []uint64 // of bounds, not added up; the last one is of all above
	sum    float64
}

func newHistogram(bounds ...float64) *histogram {
	return &histogram{bounds: bounds, counts: make([]uint64, len(bounds)+1)}
}

func (h *histogram) observe(v float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, _ := slices.BinarySearch(h.bounds, v)
	h.counts[at]++
	h.sum += v
}

func (h *histogram) points() []point {
	h.mu.Lock()
	defer h.mu.Unlock()
	var points []point
	total := uint64(0)
	for i, n := range h.counts {
		total += n
		le := "+Inf"
		if i < len(h.bounds) {
			le = strconv.FormatFloat(h.bounds[i], 'g', -1, 64)
		}
		points = append(points, point{"_bucket", label("le", le), float64(total)})
	}
	return append(points, point{"_sum", "", h.sum}, point{"_count", "", float64(total)})
}
