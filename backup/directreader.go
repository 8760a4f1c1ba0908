package backup

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// directAbove is the size from which a file is read past the page cache: a copy in
// memory less, and what the node has in that cache stays there.
const directAbove = 256 << 10

// directAlign is what offset, length and memory of such a read must be multiples
// of on most disks; where it is more, they are read as others are. What a tar
// stream holds begins at such a multiple.
const directAlign = tarBlock

// directReader reads one file, past the page cache where that can be.
type directReader struct {
	fd     int
	direct bool
}

func newDirectReader(f *os.File, size int64) *directReader {
	fd := int(f.Fd())
	return &directReader{fd: fd, direct: size >= directAbove && setDirect(fd, true)}
}

// read fills p from at on, as far as the file goes. A multiple of directAlign of p
// is used at a time, so that p may be longer than what is wanted of it.
func (r *directReader) read(p []byte, at int64) (int, error) {
	for {
		use := p
		if r.direct {
			if use = p[:len(p)&^(directAlign-1)]; at%directAlign != 0 || len(use) == 0 {
				r.direct = setDirect(r.fd, false)
				continue
			}
		}
		n, err := unix.Pread(r.fd, use, at)
		if r.direct && errors.Is(err, unix.EINVAL) { // a disk that wants more than our alignment
			r.direct = setDirect(r.fd, false)
			continue
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n > 0 && !r.direct {
			// Nobody wants this page again on our behalf; the node's own it needs more.
			_ = unix.Fadvise(r.fd, at, int64(n), unix.FADV_DONTNEED)
		}
		return max(n, 0), err
	}
}

// piece reads n bytes from at on, which may be anywhere, into a part of buf; that
// has room for a block more.
func (r *directReader) piece(buf []byte, at int64, n int) ([]byte, error) {
	lead := int(at % directAlign)
	end := lead + n
	for have := 0; have < end; {
		k, err := r.read(buf[have:max(blocks(end), have)], at-int64(lead)+int64(have))
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: dataFile, Err: err}
		}
		if k == 0 {
			return nil, fmt.Errorf("%w: %s is cut", ErrCorrupt, dataFile)
		}
		have += k
	}
	return buf[lead:end], nil
}
