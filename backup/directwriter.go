package backup

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// directChunk is how much is written past the page cache at a time.
const directChunk = 4 << 20

// directWriter writes a file from its begin, past the page cache where that can be:
// an archive is read again from the disk, or not at all, and what it would push out of
// the cache is what the node works with.
type directWriter struct {
	file   *os.File
	direct bool
	held   []byte // not yet written
}

func newDirectWriter(f *os.File) *directWriter {
	return &directWriter{file: f, direct: setDirect(int(f.Fd()), true), held: make([]byte, 0, directChunk)}
}

// Write takes all of p, and writes what makes a whole chunk.
func (w *directWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		k := min(len(p), directChunk-len(w.held))
		w.held = append(w.held, p[:k]...)
		n, p = n+k, p[k:]
		if len(w.held) == directChunk {
			if err := w.put(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// Flush writes what is left, which is no multiple of anything, through the cache.
func (w *directWriter) Flush() error {
	if w.direct {
		w.direct = setDirect(int(w.file.Fd()), false)
	}
	return w.put()
}

func (w *directWriter) put() error {
	n, err := w.file.Write(w.held)
	if w.direct && errors.Is(err, unix.EINVAL) { // a disk that wants more than our alignment
		w.direct = setDirect(int(w.file.Fd()), false)
		_, err = w.file.Write(w.held[n:])
	}
	w.held = w.held[:0]
	return err
}

// setDirect turns reading and writing past the page cache on or off, and returns what
// it is then: a file system that knows no such thing refuses.
func setDirect(fd int, on bool) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return false
	}
	if flags &^= unix.O_DIRECT; on {
		flags |= unix.O_DIRECT
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags)
	return on && err == nil
}
