package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"github.com/VictoriaMetrics/metrics"
)

// exposition collects metrics: each family whole, its help and type once. One
// without a value is not known yet and absent. Text and JSON are written from
// the same families.
type exposition struct{ families []family }

// family is one metric with all its values.
type family struct {
	Name   string  `json:"name"`
	Type   string  `json:"type"`
	Help   string  `json:"help"`
	Points []point `json:"values"`
}

// point is one value of a family.
type point struct {
	suffix string // of a histogram's values: _bucket, _sum, _count
	labels string // as label makes them, or empty
	value  float64
}

// label is one label and its value in the text format, whose escapes are not
// all of Go's.
func label(name, value string) string {
	return "{" + name + `="` + escape.Replace(strings.ToValidUTF8(value, "?")) + `"}`
}

var (
	escape   = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	unescape = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n")
)

func (e *exposition) gauge(name, help string, points ...point) {
	e.add("wemixvisor_"+name, "gauge", help, points)
}

func (e *exposition) counter(name, help string, points ...point) {
	e.add("wemixvisor_"+name, "counter", help, points)
}

func (e *exposition) add(name, kind, help string, points []point) {
	if len(points) > 0 {
		e.families = append(e.families, family{name, kind, help, points})
	}
}

// set adds what the set counts: a family for each line of help, in their order.
func (e *exposition) set(set *metrics.Set, families ...family) {
	var text bytes.Buffer
	set.WritePrometheus(&text)
	for line := range strings.Lines(text.String()) {
		name, number, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		name, labels, labelled := strings.Cut(name, "{")
		if labelled {
			labels = "{" + labels
		}
		value, err := strconv.ParseFloat(number, 64)
		if err != nil {
			continue // a comment
		}
		for i, f := range families {
			suffix, ok := strings.CutPrefix(name, f.Name)
			if ok && (suffix == "" || f.Type == "histogram" && (suffix == "_bucket" || suffix == "_sum" || suffix == "_count")) {
				families[i].Points = append(f.Points, point{suffix, labels, value})
			}
		}
	}
	for _, f := range families {
		e.add(f.Name, f.Type, f.Help, f.Points)
	}
}

// writeText writes Prometheus' text format.
func writeText(w io.Writer, families []family) {
	var b strings.Builder
	for _, f := range families {
		b.WriteString("# HELP " + f.Name + " " + f.Help + "\n# TYPE " + f.Name + " " + f.Type + "\n")
		for _, p := range f.Points {
			b.WriteString(f.Name + p.suffix + p.labels + " " + strconv.FormatFloat(p.value, 'g', -1, 64) + "\n")
		}
	}
	io.WriteString(w, b.String()) //nolint:errcheck // the scraper's loss
}

// MarshalJSON writes {"labels":{…},"value":…}, and the suffix where there is one.
func (p point) MarshalJSON() ([]byte, error) {
	labels := map[string]string{}
	if name, value, ok := strings.Cut(p.labels, `="`); ok {
		labels[name[1:]] = unescape.Replace(strings.TrimSuffix(value, `"}`))
	}
	return json.Marshal(struct {
		Suffix string            `json:"suffix,omitempty"`
		Labels map[string]string `json:"labels"`
		Value  float64           `json:"value"`
	}{p.suffix, labels, p.value})
}
