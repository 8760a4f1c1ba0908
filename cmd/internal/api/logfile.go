package api

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// LogFile is the node's output on disk as it was when it was opened: the file
// and the older ones it was rotated to.
type LogFile struct {
	name string
	file *os.File
	size int64
}

// OpenLogFile opens the log file name.
func OpenLogFile(name string) (*LogFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open log file: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open log file: %w", err)
	}
	return &LogFile{name, f, info.Size()}, nil
}

// Close closes it.
func (l *LogFile) Close() { l.file.Close() }

// Lines writes the last n lines to w. Its memory does not grow with n.
func (l *LogFile) Lines(w io.Writer, n int) error {
	parts := []*io.SectionReader{}
	rest, err := l.take(&parts, l.file, l.size, n)
	if err != nil {
		return err
	}
	for _, name := range l.rotated() {
		if rest <= 0 {
			break
		}
		f, err := os.Open(name)
		if err != nil {
			break // it was rotated away meanwhile
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("read log file: %w", err)
		}
		if ours, err := l.file.Stat(); err == nil && os.SameFile(info, ours) {
			continue // rotated after we opened it
		}
		if rest, err = l.take(&parts, f, info.Size(), rest); err != nil {
			return err
		}
	}
	for _, part := range slices.Backward(parts) {
		if _, err := io.Copy(w, part); err != nil {
			return fmt.Errorf("read log file: %w", err)
		}
	}
	return nil
}

// take adds the end of f with at most n lines, and returns how many are still
// wanted.
func (l *LogFile) take(parts *[]*io.SectionReader, f *os.File, size int64, n int) (rest int, err error) {
	block := make([]byte, 64<<10)
	start, at := size, size
	rest = n
	for at > 0 && rest > 0 {
		b := block[:min(int64(len(block)), at)]
		at -= int64(len(b))
		if _, err := f.ReadAt(b, at); err != nil {
			return 0, fmt.Errorf("read log file: %w", err)
		}
		for len(b) > 0 && rest > 0 {
			// A line's end belongs to it: the newline looked for is the one before.
			end := len(b)
			if at+int64(end) == start {
				end--
			}
			i := bytes.LastIndexByte(b[:end], '\n')
			if i < 0 {
				break
			}
			start = at + int64(i) + 1
			b = b[:i+1]
			rest--
		}
	}
	if rest > 0 && start > 0 { // the first line has none before it
		start, rest = 0, rest-1
	}
	if start < size {
		*parts = append(*parts, io.NewSectionReader(f, start, size-start))
	}
	return rest, nil
}

// rotated returns the older files, the newest first, as lumberjack names them:
// name-TIME.ext.
func (l *LogFile) rotated() []string {
	ext := filepath.Ext(l.name)
	prefix := strings.TrimSuffix(filepath.Base(l.name), ext) + "-"
	entries, err := os.ReadDir(filepath.Dir(l.name))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), ext) {
			names = append(names, filepath.Join(filepath.Dir(l.name), e.Name()))
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names
}
