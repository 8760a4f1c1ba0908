package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lineEvery = 10 * time.Second       // where nobody watches
	drawEvery = 200 * time.Millisecond // where somebody does
)

// progress shows how far long work has come: one line that is written over on a
// terminal, else a line now and then. What is done at once shows nothing.
type progress struct {
	w        io.Writer
	terminal bool
	now      func() time.Time

	mu    sync.Mutex
	stage string
	began time.Time // the stage
	first int64     // bytes that were done by then
	said  time.Time
	drawn bool
}

func newProgress(f *os.File) *progress {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return &progress{w: f, terminal: err == nil, now: time.Now, said: time.Now()}
}

// show says that stage has come so far, in bytes; a total of 0 is not known.
func (p *progress) show(stage string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	fresh := stage != p.stage
	if fresh {
		p.stage, p.began, p.first = stage, now, done
	}
	every := lineEvery
	if p.terminal {
		every = drawEvery
	}
	if now.Sub(p.said) < every && !(fresh && p.terminal) {
		return
	}
	p.said = now
	line := p.line(done, total, now.Sub(p.began))
	if !p.terminal {
		fmt.Fprintf(p.w, "wemixvisor: %s\n", line)
		return
	}
	p.drawn = true
	fmt.Fprintf(p.w, "\r\x1b[K%s", line)
}

// line words it: bytes, rate, and how long it will still take.
func (p *progress) line(done, total int64, took time.Duration) string {
	if total <= 0 {
		return p.stage
	}
	line := fmt.Sprintf("%s %s of %s", p.stage, size(done), size(total))
	if rate := float64(done-p.first) / took.Seconds(); took > 0 && rate > 0 {
		left := time.Duration(float64(total-done) / rate * float64(time.Second))
		line += fmt.Sprintf(", %s/s, %s left", size(int64(rate)), left.Round(time.Second))
	}
	return line
}

// end clears the line: results follow.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

// size words an amount of bytes.
func size(n int64) string {
	const letters = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1000 && i < len(letters)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.3g %ciB", f, letters[i])
}
