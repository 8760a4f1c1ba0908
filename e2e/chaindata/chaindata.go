// Package chaindata makes data directories that look like a node's to a backup:
// a key-value store of many tables that are written once, its logs, a freezer, and
// the node's identity, with bytes that compress about as well as real ones.
package chaindata

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Shape is how much there is of what.
type Shape struct {
	Tables    int   // files that are written once
	TableSize int64 // of each, in bytes
	Logs      int   // write-ahead logs and other files that may change
	LogSize   int64
	Sealed    int   // data files of each freezer table below the newest
	FileSize  int64 // of each such file; the newest is half as large
	Seed      uint64
}

// Bytes is what Make writes that the node never changes again, and what it may.
func (s Shape) Bytes() (fixed, mutable int64) {
	tables := int64(len(freezer))
	return int64(s.Tables)*s.TableSize + tables*int64(s.Sealed)*s.FileSize,
		int64(s.Logs)*s.LogSize + tables*s.FileSize/2
}

// GB is a shape of about n times 2^30 bytes, of which mutable may change.
func GB(n float64, mutable int64) Shape {
	s := Shape{TableSize: 4 << 20, Logs: 3, Sealed: 2, FileSize: 16 << 20, Seed: 1}
	s.LogSize = (mutable - int64(len(freezer))*s.FileSize/2) / int64(s.Logs)
	fixed, _ := s.Bytes()
	s.Tables = int((int64(n*(1<<30)) - mutable - fixed) / s.TableSize)
	return s
}

var freezer = []string{"headers", "hashes", "bodies", "receipts"}

// Make fills dir, and returns the folder of the key-value store in it.
func Make(dir string, s Shape) (store string, err error) {
	w := writer{rand: rand.New(rand.NewPCG(s.Seed, 1))}
	store = filepath.Join(dir, "geth", "chaindata")
	ancient := filepath.Join(store, "ancient", "chain")
	for n := range s.Tables {
		w.file(filepath.Join(store, fmt.Sprintf("%06d.sst", n+10)), s.TableSize)
	}
	for n := range s.Logs {
		w.file(filepath.Join(store, fmt.Sprintf("%06d.log", s.Tables+n+10)), s.LogSize)
	}
	w.text(filepath.Join(store, "CURRENT"), "MANIFEST-000001\n")
	w.text(filepath.Join(store, "LOCK"), "")
	w.file(filepath.Join(store, "MANIFEST-000001"), 64<<10)
	w.file(filepath.Join(store, "OPTIONS-000002"), 4<<10)
	for _, table := range freezer {
		for n := range s.Sealed {
			w.file(filepath.Join(ancient, fmt.Sprintf("%s.%04d.cdat", table, n)), s.FileSize)
		}
		w.file(filepath.Join(ancient, fmt.Sprintf("%s.%04d.cdat", table, s.Sealed)), s.FileSize/2)
		w.file(filepath.Join(ancient, table+".cidx"), 60<<10)
		w.text(filepath.Join(ancient, table+".meta"), "\xc3\x02\x80\x80")
	}
	w.text(filepath.Join(ancient, "FLOCK"), "")
	w.text(filepath.Join(dir, "geth", "LOCK"), "")
	w.text(filepath.Join(dir, "geth", "nodekey"), "a key")
	w.file(filepath.Join(dir, "geth", "nodes", "000001.log"), 32<<10)
	w.text(filepath.Join(dir, "keystore", "UTC--2026-01-01T00-00-00Z--aa"), "an account")
	return store, w.err
}

// writer keeps its first error.
type writer struct {
	rand *rand.Rand
	err  error
}

func (w *writer) text(file, content string) {
	if w.err == nil {
		w.err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if w.err == nil {
		w.err = os.WriteFile(file, []byte(content), 0o644)
	}
}

// file writes size bytes of which about half compress away: hashes do not, and
// what lies between them does.
func (w *writer) file(name string, size int64) {
	if w.text(name, ""); w.err != nil {
		return
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		w.err = err
		return
	}
	buf := make([]byte, 1<<20)
	for size > 0 && w.err == nil {
		n := min(size, int64(len(buf)))
		for i := 0; i+64 <= len(buf); i += 64 {
			for j := 0; j < 32; j += 8 {
				binary.LittleEndian.PutUint64(buf[i+j:], w.rand.Uint64())
			}
		}
		_, w.err = f.Write(buf[:n])
		size -= n
	}
	if err := f.Close(); w.err == nil {
		w.err = err
	}
}
