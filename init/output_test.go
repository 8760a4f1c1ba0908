package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipe returns both ends; what is open at the end is closed.
func pipe(t *testing.T) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close(); write.Close() })
	return read, write
}

// 64 MB of one line without an end, each byte of it.
func TestOutputPassesByteByByte(t *testing.T) {
	const size = 64 << 20
	line := func(w io.Writer) {
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = byte(i*7 + i>>8)
			if block[i] == '\n' {
				block[i] = 0
			}
		}
		for range size >> 20 {
			_, _ = w.Write(block)
		}
	}
	want := fnv.New64a()
	line(want)

	source, feed := pipe(t)
	go func() { line(feed); feed.Close() }()
	stdout, ours := pipe(t)
	var file bytes.Buffer
	g := newRig(t, "cat line; printf end; exit 0", func(c *Config) {
		c.Stdout = ours
		c.LogFile = &file
		if err := os.Symlink(procFd(source), c.Dir+"/line"); err != nil {
			t.Fatal(err)
		}
	})
	have := fnv.New64a()
	last := make([]byte, 0, 2*tailSize)
	buf := make([]byte, 1<<20)
	for total := 0; total < size+3; {
		n, err := stdout.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		total += n
		last = append(last, buf[:n]...)
		last = last[max(0, len(last)-tailSize):]
		_, _ = have.Write(buf[:n])
	}
	_, _ = want.Write([]byte("end"))
	if have.Sum64() != want.Sum64() {
		t.Error("the output is not what the node wrote")
	}
	g.wants(g.result(), ErrEnded)
	if tail, next, _ := g.Tail().From(0); !bytes.Equal(tail, last) || len(tail) != tailSize || next != size+3 {
		t.Errorf("want the last %d bytes of %d, have %d of %d", tailSize, size+3, len(tail), next)
	}
	if file.Len() != size+3 {
		t.Errorf("want %d bytes in the file, have %d", size+3, file.Len())
	}
}

func TestStreamsStayApart(t *testing.T) {
	out, ourOut := pipe(t)
	err, ourErr := pipe(t)
	g := newRig(t, "echo out; echo err >&2", func(c *Config) { c.Stdout, c.Stderr = ourOut, ourErr })
	g.wants(g.result(), ErrEnded)
	ourOut.Close()
	ourErr.Close()
	o, _ := io.ReadAll(out)
	e, _ := io.ReadAll(err)
	if string(o) != "out\n" || string(e) != "err\n" {
		t.Errorf("have %q and %q", o, e)
	}
}

func TestClosedStdoutDoesNotHurt(t *testing.T) {
	read, write := pipe(t)
	read.Close()
	g := newRig(t, "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done; echo done; exec sleep 1000", func(c *Config) { c.Stdout = write })
	g.says("done\n", 1)
	g.is(Running)
	g.must(g.Stop(context.Background()))
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := strings.Count(g.logs.String(), "nobody reads"); n != 1 {
		t.Errorf("want one warning, have %d", n)
	}
}

// A reader that does not read holds up the node, but nothing of ours.
func TestStuckReader(t *testing.T) {
	read, write := pipe(t)
	fill(t, write)
	g := newRig(t, "while :; do echo line; done", func(c *Config) { c.Stdout = write })
	g.says("line\n", 1)
	g.is(Running)
	began := time.Now()
	g.must(g.Stop(context.Background()))
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the stop took %s", took)
	}
	read.Close()
	eventually(t, "the copier lets go", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return strings.Contains(g.logs.String(), "nobody reads")
	})
}

// What a stuck reader does not take is in the tail and in the log file, to the
// last byte.
func TestStuckReaderLosesNothingElsewhere(t *testing.T) {
	read, write := pipe(t)
	fill(t, write)
	var file bytes.Buffer
	// Less than what the pipe holds: the node ends by itself.
	g := newRig(t, "head -c 50000 /dev/zero | tr '\\0' x; printf more; sleep 0.2; printf end", func(c *Config) { c.Stdout, c.LogFile = write, &file })
	g.wants(g.result(), ErrEnded)
	if tail, next, _ := g.Tail().From(0); next != 50007 || !bytes.HasSuffix(tail, []byte("xmoreend")) {
		t.Errorf("want 50007 bytes to the end, have %d to %.20q", next, tail[max(0, len(tail)-20):])
	}
	if file.Len() != 50007 {
		t.Errorf("want 50007 bytes in the file, have %d", file.Len())
	}
	read.Close()
	eventually(t, "the warning, and the copier lets go", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return strings.Contains(g.logs.String(), "not passed on") && strings.Contains(g.logs.String(), "nobody reads")
	})
}

// A reader that is slow, but reads, gets everything although that takes longer
// than a stuck one is waited for.
func TestSlowReaderGetsEverything(t *testing.T) {
	read, write := pipe(t)
	fill(t, write)
	const before, size = 64 << 10, 60000
	have := make(chan int)
	g := newRig(t, "head -c 60000 /dev/zero", func(c *Config) { c.Stdout = write })
	go func() { // received below
		total, buf := 0, make([]byte, 4<<10)
		for total < before+size {
			<-time.After(150 * time.Millisecond)
			n, err := read.Read(buf)
			if err != nil {
				break
			}
			total += n
		}
		have <- total
	}()
	g.wants(g.result(), ErrEnded)
	write.Close()
	if total := <-have; total != before+size {
		t.Errorf("want %d bytes, have %d", before+size, total)
	}
}

// fill leaves no room in the pipe that write leads to.
func fill(t *testing.T, write *os.File) {
	t.Helper()
	fd := int(write.Fd())
	_ = unix.SetNonblock(fd, true)
	for {
		if _, err := unix.Write(fd, make([]byte, 4096)); err != nil {
			break
		}
	}
	_ = unix.SetNonblock(fd, false)
}

type full struct{ writes int }

func (f *full) Write([]byte) (int, error) { f.writes++; return 0, errors.New("disk full") }

func TestFullDiskDoesNotHurt(t *testing.T) {
	read, write := pipe(t)
	g := newRig(t, "echo one; sleep 0.1; echo two", func(c *Config) { c.Stdout, c.LogFile = write, &full{} })
	g.wants(g.result(), ErrEnded)
	write.Close()
	if have, _ := io.ReadAll(read); string(have) != "one\ntwo\n" {
		t.Errorf("have %q", have)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := strings.Count(g.logs.String(), "log file not written"); n != 1 {
		t.Errorf("want one warning, have %d", n)
	}
}

// procFd names f for another process.
func procFd(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }
