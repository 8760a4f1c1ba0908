package main

import (
	"fmt"
	"io"
	"strconv"
)

// exposition writes metrics in Prometheus' text format: each family whole, its
// help and type once.
type exposition struct{ w io.Writer }

// point is one value of a family.
type point struct {
	labels string // as label makes them, or empty
	value  float64
}

func (e exposition) gauge(name, help string, points ...point) { e.family(name, "gauge", help, points) }

func (e exposition) counter(name, help string, points ...point) {
	e.family(name, "counter", help, points)
}

func (e exposition) family(name, kind, help string, points []point) {
	if len(points) == 0 {
		return
	}
	fmt.Fprintf(e.w, "# HELP wemixvisor_%s %s\n# TYPE wemixvisor_%s %s\n", name, help, name, kind)
	for _, p := range points {
		fmt.Fprintf(e.w, "wemixvisor_%s%s %s\n", name, p.labels, strconv.FormatFloat(p.value, 'g', -1, 64))
	}
}

// label is one label and its value.
func label(name, value string) string { return "{" + name + "=" + strconv.Quote(value) + "}" }
