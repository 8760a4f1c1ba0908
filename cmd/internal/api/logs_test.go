package api

import (
	"bytes"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"gopkg.in/natefinch/lumberjack.v2"

	supervisor "github.com/wemix/wemixvisor/init"
)

// tailOf reads the last n lines of a file the plain way.
func lastOf(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

func TestLastLinesOfALogFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := strings.Repeat("y", 100<<10)
	var all strings.Builder
	for i, text := range []string{"1\n2\n3\n", "", "4\n\n5\n" + long + "\n", "6\n7"} {
		name := filepath.Join(dir, fmt.Sprintf("node-2026-01-0%dT00-00-00.000.log", i+1))
		if i == 3 {
			name = filepath.Join(dir, "node.log")
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		all.WriteString(text)
	}
	file, err := OpenLogFile(filepath.Join(dir, "node.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for n := range 12 {
		var out bytes.Buffer
		if err := file.Lines(&out, n); err != nil {
			t.Fatal(err)
		}
		if want := lastOf(all.String(), n); want != out.String() {
			t.Errorf("%d lines: want %.60q (%d), have %.60q (%d)", n, want, len(want), out.String(), out.Len())
		}
	}
}

func FuzzLastLines(f *testing.F) {
	f.Add("a\nb\n\nc", 2)
	f.Add("\n", 1)
	f.Fuzz(func(t *testing.T, text string, n int) {
		if n < 0 || n > 1<<16 || text == "" {
			t.Skip()
		}
		name := filepath.Join(t.TempDir(), "x.log")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := OpenLogFile(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var out bytes.Buffer
		if err := file.Lines(&out, n); err != nil {
			t.Fatal(err)
		}
		if want := lastOf(text, n); want != out.String() {
			t.Fatalf("%d lines of %q: want %q, have %q", n, text, want, out.String())
		}
	})
}

// TestLogsBeyondMemoryJoinTheTail asks for more than memory holds, and follows:
// nothing may be missing or twice where the file ends and the tail goes on.
func TestLogsBeyondMemoryJoinTheTail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "node.log")
	file := &lumberjack.Logger{Filename: name, MaxSize: 1, MaxBackups: 5} // MB
	defer file.Close()
	const lines = 150_000 // over a megabyte: it is rotated once
	sup := supervisor.New(supervisor.Config{
		Reaper: rp, Logger: log.NewNopLogger(), LogFile: file,
		Program: func() (string, error) { return "/bin/sh", nil },
		Args:    []string{"-c", fmt.Sprintf("seq 1 %d; while [ ! -e %s/go ]; do sleep 0.05; done; seq %d %d; exec sleep 60", lines, dir, lines+1, lines+5_000)},
		Env:     os.Environ(), Grace: 5 * time.Second, RestartWindow: time.Minute,
	})
	done := make(chan struct{})
	go func() { defer close(done); _ = sup.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	until(t, sup, fmt.Sprintf("\n%d\n", lines))
	s := NewServer(Config{Supervisor: sup, LogFile: name})

	rec := httptest.NewRecorder()
	s.front(nil).ServeHTTP(rec, httptest.NewRequest("GET", "/api/v1/logs?n=100000", nil))
	text := rec.Body.String()
	if !strings.HasPrefix(text, fmt.Sprint(lines-100_000+1)+"\n") || !strings.HasSuffix(text, fmt.Sprintf("\n%d\n", lines)) {
		t.Fatalf("want the last 100000 lines, have %.20q … %q", text, text[len(text)-20:])
	}

	read, write := io.Pipe()
	go func() { // ends when nobody reads
		var mark int64
		var part *LogFile
		sup.Still(func(offset int64) { mark = offset; part, _ = OpenLogFile(name) })
		_ = part.Lines(write, 100_000)
		part.Close()
		_ = os.WriteFile(dir+"/go", nil, 0o600)
		for {
			text, next, changed := sup.Tail().From(mark)
			mark = next
			if _, err := write.Write(text); err != nil {
				return
			}
			<-changed
		}
	}()
	defer read.Close()
	for i := lines - 100_000 + 1; i <= lines+1000; i++ {
		var have int
		if _, err := fmt.Fscanln(read, &have); err != nil || have != i {
			t.Fatalf("want %d, have %d %v", i, have, err)
		}
	}
}
