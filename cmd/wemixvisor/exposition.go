package main

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
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

// writeText writes Prometheus' text format.
func writeText(w io.Writer, families []family) {
	var b strings.Builder
	for _, f := range families {
		b.WriteString("# HELP " + f.Name + " " + f.Help + "\n# TYPE " + f.Name + " " + f.Type + "\n")
		for _, p := range f.Points {
			b.WriteString(f.Name + p.labels + " " + strconv.FormatFloat(p.value, 'g', -1, 64) + "\n")
		}
	}
	io.WriteString(w, b.String()) //nolint:errcheck // the scraper's loss
}

// MarshalJSON writes {"labels":{…},"value":…}.
func (p point) MarshalJSON() ([]byte, error) {
	labels := map[string]string{}
	if name, value, ok := strings.Cut(p.labels, `="`); ok {
		labels[name[1:]] = unescape.Replace(strings.TrimSuffix(value, `"}`))
	}
	return json.Marshal(struct {
		Labels map[string]string `json:"labels"`
		Value  float64           `json:"value"`
	}{labels, p.value})
}
