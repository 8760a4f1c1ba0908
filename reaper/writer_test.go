package reaper

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/reaper/signals"
)

// drained empties the queue of signals and returns what was in it before a
// SIGWINCH that it sends itself.
func drained(t *testing.T) (seen []syscall.Signal) {
	t.Helper()
	_ = syscall.Kill(os.Getpid(), syscall.SIGWINCH)
	for {
		select {
		case s := <-signals.C:
			if s == syscall.SIGWINCH {
				return seen
			}
			seen = append(seen, s.(syscall.Signal))
		case <-time.After(20 * time.Second):
			t.Fatal("SIGWINCH does not arrive")
		}
	}
}

// A write to a closed pipe raises SIGPIPE. Nobody sent us that one, so it must
// not come out of the queue of signals to forward, not even later.
func TestQuietlyRaisesNothing(t *testing.T) {
	drained(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	read.Close()
	for range 20 {
		Quietly(func() {
			if err := Write(write, []byte("x")); err == nil {
				t.Error("want an error")
			}
		})
		if seen := drained(t); len(seen) > 0 {
			t.Fatalf("have %v", seen)
		}
	}
	if os.Getpid() == 1 {
		return // our rough parent ignored it, and the Go runtime goes on with that
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGPIPE) // but this one somebody sent
	select {
	case s := <-signals.C:
		if s != syscall.SIGPIPE {
			t.Errorf("want SIGPIPE, have %v", s)
		}
	case <-time.After(20 * time.Second):
		t.Error("SIGPIPE does not arrive")
	}
}

func TestWriteWaitsForANonBlockingPipe(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("0123456789"), 100000)
	wrote := make(chan error, 1)
	go func() {
		_ = unix.SetNonblock(int(write.Fd()), true)
		var err error
		Quietly(func() {
			for p := want; len(p) > 0 && err == nil; p = p[100000:] {
				err = Write(write, p[:100000])
			}
		})
		write.Close()
		wrote <- err
	}()
	have, err := io.ReadAll(read)
	if werr := <-wrote; err != nil || werr != nil || !bytes.Equal(have, want) {
		t.Errorf("want %d bytes, have %d, %v, %v", len(want), len(have), err, werr)
	}
	read.Close()
}

func TestWriterNeverBlocks(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(write)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()

	// A megabyte: more than the pipe and the queue hold, and nobody reads.
	const lines = 10000
	for i := range lines {
		if n, err := fmt.Fprintf(w, "line %d %s\n", i, strings.Repeat("x", 100)); err != nil || n < 100 {
			t.Fatal(n, err)
		}
	}
	text := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(read)
		text <- b
	}()
	eventually(t, "the queue is empty", func() bool { return len(w.lines) == 0 })
	fmt.Fprintln(w, "the last")
	cancel()
	<-ended
	write.Close()
	have := string(<-text)
	var kept, lost int
	for line := range strings.Lines(have) {
		if _, after, found := strings.Cut(line, "lines="); found {
			n, err := strconv.Atoi(strings.TrimSpace(after))
			if err != nil {
				t.Fatal(err)
			}
			lost += n
		} else if strings.HasPrefix(line, "line ") {
			kept++
		}
	}
	if kept+lost != lines || lost == 0 {
		t.Errorf("want %d lines, have %d and %d lost", lines, kept, lost)
	}
	if !strings.HasSuffix(have, "the last\n") {
		t.Errorf("want the last line last, have %q", have[max(0, len(have)-300):])
	}
	read.Close()
}

// Nobody will ever read the last lines: that costs a second, not for ever.
func TestWriterGivesUp(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(write)
	ctx, cancel := context.WithCancel(context.Background())
	for range 1000 {
		fmt.Fprintln(w, strings.Repeat("x", 1000))
	}
	cancel()
	began := time.Now()
	_ = w.Run(ctx)
	if took := time.Since(began); took < flush || took > 20*flush {
		t.Errorf("want a second, have %s", took)
	}
	read.Close() // which ends the writing goroutine
}

func TestWriterOfTheClosed(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	read.Close()
	drained(t)
	w := NewWriter(write)
	ctx, cancel := context.WithCancel(context.Background())
	fmt.Fprintln(w, "x")
	cancel()
	_ = w.Run(ctx)
	if seen := drained(t); len(seen) > 0 {
		t.Errorf("have %v", seen)
	}
}
