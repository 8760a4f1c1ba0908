package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// table is what came out. Columns are contestants.
type table struct {
	start, initial, exit     *row
	rss, growth, runRSS      *row
	storm, drain, peak, left *row
	p50, p99, lost, wakes    *row
	judged                   string
	contestants              []contestant
}

func newTable(cs []contestant, judged string) *table {
	return &table{
		contestants: cs,
		judged:      judged,

		start:   newRow("start to the child's first action, ms", 2),
		initial: newRow("start to the child's exec, ms (above less no init)", 2).atMost(12, " ms"),
		rss:     newRow("idle RSS, MB", 2).atMost(12, " MB"),
		runRSS:  newRow("idle RSS in run mode, MB", 2).atMost(25, " MB"),
		growth:  newRow("RSS after 10,000 reaps, MB more", 2).atMost(1, " MB"),
		storm:   newRow("10,000 orphans, first fork to zero zombies, ms", 0).atMostYard(1.5),
		drain:   newRow("10,000 zombies at once to zero, ms", 1).atMostYard(1.5),
		peak:    newRow("most zombies seen in the storm", 0).of(slices.Max),
		left:    newRow("zombies 1 s after it", 0).of(slices.Max).atMost(0, ""),
		p50:     newRow("signal hop p50, µs", 0).atMost(150, " µs"),
		p99:     newRow("signal hop p99, µs", 0).atMost(1500, " µs"),
		lost:    newRow("signals lost", 0).of(sum).atMost(0, ""),
		wakes:   newRow("idle wake-ups per second", 1).atMost(0, ""),
		exit:    newRow("child's exit to the init gone, ms", 2),
	}
}

// rows returns the rows in their order. The init's own share of a start is
// what is left when the child's is taken off.
func (t *table) rows() []*row {
	clear(t.initial.values)
	for _, c := range inits(t.contestants) {
		if v := t.start.value(c.name) - t.start.value(bare.name); v == v {
			t.initial.add(c.name, v)
		}
	}
	return []*row{
		t.start, t.initial, t.rss, t.runRSS, t.growth, t.storm, t.drain, t.peak, t.left,
		t.p50, t.p99, t.lost, t.wakes, t.exit,
	}
}

// cells returns the table, its head first.
func (t *table) cells() [][]string {
	head := []string{"median"}
	for _, c := range t.contestants {
		head = append(head, c.name)
	}
	cells := [][]string{append(head, "× "+yardname, "bar")}
	for _, r := range t.rows() {
		line := []string{r.name}
		for _, c := range t.contestants {
			line = append(line, r.cell(c.name))
		}
		cells = append(cells, append(line, r.ratio(t.judged), r.verdict(t.judged)))
	}
	return cells
}

// printCells writes a table for people.
func printCells(w io.Writer, machine string, cells [][]string) error {
	width := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var text strings.Builder
	text.WriteString(machine + "\n\n")
	for _, line := range cells {
		for i, cell := range line {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			switch i {
			case 0:
				text.WriteString(cell + pad)
			case len(line) - 1:
				text.WriteString("  " + cell)
			default:
				text.WriteString("  " + pad + cell)
			}
		}
		text.WriteString("\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// markdownCells writes a table as Markdown.
func markdownCells(w io.Writer, machine string, cells [][]string) error {
	var text strings.Builder
	text.WriteString(machine + "\n\n")
	for i, line := range cells {
		fmt.Fprintf(&text, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			fmt.Fprintf(&text, "|---|%s---|\n", strings.Repeat("---:|", len(line)-2))
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}
