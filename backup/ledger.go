package backup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// A ledger lists the files of a snapshot with what they were when they were
// taken, a line each:
//
//	link INODE SIZE MTIME "path"    shared with the node: it must still be that
//	copy 0 SIZE MTIME "path"        our own
//	gone 0 0 0 "path"               taken back; only in the second ledger
//	end COUNT                       without it the ledger was cut
//
// There are two to a snapshot: half a million lines are written while the node
// runs, and in the window only those that differ. A line of the second one is
// valid in place of the first one's.
type ledgerLine struct {
	kind  string
	ino   uint64
	size  int64
	mtime int64 // ns
	path  string
}

const (
	lineLink = "link"
	lineCopy = "copy"
	lineGone = "gone"
)

func lineOf(kind string, e Entry) ledgerLine {
	l := ledgerLine{kind: kind, size: e.Size, mtime: e.ModTime.UnixNano(), path: e.Path}
	if kind == lineLink {
		l.ino = e.Ino
	}
	return l
}

// ledgerWriter writes one. Errors wait for close.
type ledgerWriter struct {
	f     *os.File
	w     *bufio.Writer
	buf   []byte
	lines int
}

func newLedger(file string) (*ledgerWriter, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write ledger: %w", err)
	}
	return &ledgerWriter{f: f, w: bufio.NewWriterSize(f, 256<<10)}, nil
}

func (l *ledgerWriter) add(line ledgerLine) {
	b := append(l.buf[:0], line.kind...)
	b = strconv.AppendUint(append(b, ' '), line.ino, 10)
	b = strconv.AppendInt(append(b, ' '), line.size, 10)
	b = strconv.AppendInt(append(b, ' '), line.mtime, 10)
	b = strconv.AppendQuote(append(b, ' '), line.path)
	l.buf = append(b, '\n')
	l.lines++
	_, _ = l.w.Write(l.buf)
}

// close ends it. It becomes durable with what it tells of.
func (l *ledgerWriter) close() error {
	fmt.Fprintf(l.w, "end %d\n", l.lines)
	err := l.w.Flush()
	if cerr := l.f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write ledger: %w", spaceError(err))
	}
	return nil
}

// readLedger calls f for each line. A missing ledger is a corrupt one.
func readLedger(file string, f func(ledgerLine) error) error {
	r, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read ledger %s: %w: it is missing", file, ErrCorrupt)
	}
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	defer r.Close()
	return scanLedger(file, r, f)
}

func scanLedger(file string, r io.Reader, f func(ledgerLine) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), 64<<10) // a path is at most 4 KiB, quoted four times that
	n := 0
	for lines.Scan() {
		if rest, ok := bytes.CutPrefix(lines.Bytes(), []byte("end ")); ok {
			said := string(rest)
			if said != strconv.Itoa(n) || lines.Scan() {
				return fmt.Errorf("read ledger %s: %w: %d lines, but it ends with %q", file, ErrCorrupt, n, said)
			}
			return nil
		}
		line, ok := parseLedgerLine(lines.Bytes())
		if !ok {
			return fmt.Errorf("read ledger %s: %w: line %d", file, ErrCorrupt, n+1)
		}
		n++
		if err := f(line); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("read ledger %s: %w", file, err)
	}
	return fmt.Errorf("read ledger %s: %w: it is cut", file, ErrCorrupt)
}

// parseLedgerLine copies nothing but the path: half a million lines are read while
// the node is down.
func parseLedgerLine(s []byte) (l ledgerLine, ok bool) {
	kind, s, _ := bytes.Cut(s, space)
	ino, s, _ := bytes.Cut(s, space)
	size, s, _ := bytes.Cut(s, space)
	mtime, quoted, _ := bytes.Cut(s, space)
	for _, known := range [...]string{lineLink, lineCopy, lineGone} {
		if string(kind) == known {
			l.kind = known
		}
	}
	var errs [4]error
	l.ino, errs[0] = strconv.ParseUint(string(ino), 10, 64)
	l.size, errs[1] = strconv.ParseInt(string(size), 10, 64)
	l.mtime, errs[2] = strconv.ParseInt(string(mtime), 10, 64)
	l.path, errs[3] = unquote(quoted)
	return l, l.kind != "" && errs == [4]error{} && (l.path == "" || fs.ValidPath(strings.ToValidUTF8(l.path, "?")))
}

var space = []byte(" ")

// unquote is strconv's, which need not be asked about a name without anything odd.
func unquote(s []byte) (string, error) {
	if last := len(s) - 1; last > 0 && s[0] == '"' && s[last] == '"' && bytes.IndexByte(s, '\\') < 0 && bytes.IndexByte(s[1:], '"') == last-1 {
		return string(s[1:last]), nil
	}
	return strconv.Unquote(string(s))
}
