package supervisor

import (
	"bytes"
	"strings"
	"sync"
	"unicode"
)

// tailSize is how much of the node's output is kept in memory.
const tailSize = 64 << 10

// Tail keeps the last 64 KiB of what the node wrote, over all its processes.
type Tail struct {
	mu      sync.Mutex
	buf     []byte
	end     int64         // how many bytes were ever written
	changed chan struct{} // closed at the next write
}

func newTail() *Tail { return &Tail{changed: make(chan struct{})} }

// Write keeps the end of p. It never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end += int64(len(p))
	if t.buf == nil {
		t.buf = make([]byte, 0, 2*tailSize)
	}
	keep := p[max(0, len(p)-tailSize):]
	if len(t.buf)+len(keep) > cap(t.buf) { // move once in 64 KiB, not at each write
		n := copy(t.buf, t.buf[max(0, len(t.buf)-(tailSize-len(keep))):])
		t.buf = t.buf[:n]
	}
	t.buf = append(t.buf, keep...)
	close(t.changed)
	t.changed = make(chan struct{})
	return len(p), nil
}

// From returns what is kept of the output from offset on, the offset behind it,
// and a channel that closes when there is more.
func (t *Tail) From(offset int64) (text []byte, next int64, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := t.kept()
	missing := t.end - offset
	if missing < 0 {
		missing = 0
	}
	if missing > int64(len(kept)) {
		missing = int64(len(kept))
	}
	return bytes.Clone(kept[int64(len(kept))-missing:]), t.end, t.changed
}

// Lines returns the last n lines, whole ones where they are kept whole, and the
// offset behind them.
func (t *Tail) Lines(n int) (text []byte, next int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := t.kept()
	start := len(kept)
	for i := 0; i < n && start > 0; i++ {
		start = bytes.LastIndexByte(kept[:start-1], '\n') + 1
	}
	return bytes.Clone(kept[start:]), t.end
}

// Word returns the last line that says something and was written from offset
// on, at most 300 characters of it, without control characters: it goes into
// one line of our own log.
func (t *Tail) Word(offset int64) string {
	text, _, _ := t.From(offset)
	lines := strings.Split(string(text), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		line := strings.TrimSpace(strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, strings.ToValidUTF8(lines[i], "?")))
		if r := []rune(line); len(r) > 300 {
			line = string(r[:300]) + "…"
		}
		if line != "" {
			return line
		}
	}
	return ""
}

func (t *Tail) kept() []byte { return t.buf[max(0, len(t.buf)-tailSize):] }
