package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/peterbourgon/ff/v3/fftoml"
)

// document is a configuration file: flat TOML, a key a line.
type document struct {
	name string
	text []byte
}

// documentMax bounds what is read of a configuration file.
const documentMax = 1 << 20

func load(name string) (*document, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, documentMax+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(text) > documentMax {
		return nil, fmt.Errorf("read configuration: %s is over %d bytes", name, documentMax)
	}
	return &document{name, text}, nil
}

// pair is a key and its value.
type pair struct{ key, value string }

// pairs reads the document, in the order of its lines.
func (d *document) pairs() ([]pair, error) {
	var pairs []pair
	err := fftoml.Parser(bytes.NewReader(d.text), func(key, value string) error {
		pairs = append(pairs, pair{key, value})
		return nil
	})
	if err != nil {
		text := strings.TrimPrefix(err.Error(), "error parsing TOML config: ")
		return nil, errors.New(strings.ReplaceAll(text, "\n", " "))
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		if n := d.line(a.key) - d.line(b.key); n != 0 {
			return n
		}
		return strings.Compare(a.key, b.key)
	})
	return pairs, nil
}

// line returns the number of the line that sets key, 1 where it can't be told.
func (d *document) line(key string) int {
	for i, line := range d.lines() {
		if name, _, ok := assignment(line); ok && name == key {
			return i + 1
		}
	}
	return 1
}

// lines returns the lines with their ends.
func (d *document) lines() []string {
	return strings.SplitAfter(string(d.text), "\n")
}

// assignment reads KEY = VALUE; rest is what stands behind the sign.
func assignment(line string) (key, rest string, ok bool) {
	key, rest, ok = strings.Cut(line, "=")
	key = strings.TrimSpace(key)
	if len(key) >= 2 && (key[0] == '"' || key[0] == '\'') && key[len(key)-1] == key[0] {
		key = key[1 : len(key)-1]
	}
	return key, rest, ok && key != "" && !strings.ContainsAny(key, "#\"'[]")
}

// set returns the document with key set to value. Comments, order and whatever
// else is there stay.
func (d *document) set(key, value string) (*document, error) {
	before, err := d.pairs()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	lines, text := d.lines(), quoted(value)
	at := slices.IndexFunc(lines, func(line string) bool {
		name, _, ok := assignment(line)
		return ok && name == key
	})
	switch {
	case at >= 0:
		if lines[at], err = replaced(lines[at], text); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", d.name, at+1, err)
		}
	default:
		at = slices.IndexFunc(lines, func(line string) bool { // where it stands as a comment
			name, _, ok := assignment(strings.TrimLeft(line, "# \t"))
			return ok && name == key && strings.HasPrefix(line, "#")
		})
		if at < 0 {
			at = len(lines) - 1
			if lines[at] == "" {
				at--
			}
		}
		if at >= 0 && !strings.HasSuffix(lines[at], "\n") {
			lines[at] += "\n"
		}
		lines = slices.Insert(lines, at+1, key+" = "+text+"\n")
	}
	after := &document{d.name, []byte(strings.Join(lines, ""))}
	if err := after.differsIn(before, pair{key, value}); err != nil {
		return nil, fmt.Errorf("%s: %w; edit the file by hand", d.name, err)
	}
	return after, nil
}

// differsIn makes sure that nothing but the pair is another than before. Lines
// may mislead: one within a long string looks like a key.
func (d *document) differsIn(before []pair, want pair) error {
	after, err := d.pairs()
	if err != nil {
		return fmt.Errorf("the line of %s is not understood: %w", want.key, err)
	}
	values := func(pairs []pair) map[string]string {
		m := map[string]string{}
		for _, p := range pairs {
			m[p.key] = p.value
		}
		return m
	}
	was, is := values(before), values(after)
	was[want.key] = want.value
	if len(was) != len(is) {
		return fmt.Errorf("the line of %s is not understood", want.key)
	}
	for key, value := range was {
		if is[key] != value {
			return fmt.Errorf("the line of %s is not understood", want.key)
		}
	}
	return nil
}

// replaced returns line with another value and the comment it had.
func replaced(line, text string) (string, error) {
	head, rest, _ := strings.Cut(line, "=")
	value := strings.TrimLeft(rest, " \t")
	head += "=" + rest[:len(rest)-len(value)]
	end := 0
	switch {
	case strings.HasPrefix(value, `"""`), strings.HasPrefix(value, "'''"), strings.HasPrefix(value, "["):
		return "", errors.New("the value spans lines; edit the file by hand")
	case strings.HasPrefix(value, `"`):
		for end = 1; end < len(value) && value[end] != '"'; end++ {
			if value[end] == '\\' {
				end++
			}
		}
		end++
	case strings.HasPrefix(value, "'"):
		end = 2 + strings.IndexByte(value[1:], '\'')
	default:
		if end = strings.IndexByte(value, '#'); end < 0 {
			end = len(value)
		}
		end = len(strings.TrimRight(value[:end], " \t\r\n"))
	}
	return head + text + value[min(end, len(value)):], nil
}

// quoted writes a basic string of TOML.
func quoted(value string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range value {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
