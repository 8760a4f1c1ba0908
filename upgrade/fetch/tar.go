package fetch

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// untar walks through a tar to its end.
func (u *unpacking) untar(r io.Reader) error {
	raw := &stream{u: u, r: r}
	t := tar.NewReader(raw)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // that is for us to judge, GODEBUG or not
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue // git archive's commit
		}
		wanted, err := u.admit(h.Name, typeOf(h))
		if err != nil {
			return err
		}
		if wanted {
			if err := u.write(t, h.Size); err != nil {
				return err
			}
		}
	}
	// The reader stops at the mark that ends a tar, or at a cut between two
	// entries as if there were one. And only behind it comes the checksum of gzip
	// and zstd.
	if raw.zeros < blockSize {
		return fmt.Errorf("%w: it is cut off", ErrArchive)
	}
	_, err := io.Copy(io.Discard, raw)
	return err
}

const blockSize = 512

// typeOf tells what an entry is from its type flag alone: of a hard link the
// mode says that it is a file.
func typeOf(h *tar.Header) fs.FileMode {
	switch h.Typeflag {
	case tar.TypeReg:
		return 0
	case tar.TypeDir:
		return fs.ModeDir
	case tar.TypeSymlink, tar.TypeLink:
		return fs.ModeSymlink
	case tar.TypeChar, tar.TypeBlock:
		return fs.ModeDevice
	case tar.TypeFifo:
		return fs.ModeNamedPipe
	}
	return fs.ModeIrregular
}

// stream is the unpacked bytes of an archive: limited, and aware of the zeros at
// its end.
type stream struct {
	u     *unpacking
	r     io.Reader
	count int64
	zeros int64
}

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if s.count += int64(n); s.count > s.u.limit {
		return 0, s.u.tooLarge()
	}
	tail := n
	for tail > 0 && b[tail-1] == 0 {
		tail--
	}
	if tail > 0 {
		s.zeros = 0
	}
	s.zeros += int64(n - tail)
	return n, err
}
