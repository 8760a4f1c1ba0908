package fetch

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Limits of what an archive may hold, whoever made it.
const (
	maxEntries = 4096
	maxName    = 1024      // bytes
	maxWindow  = 128 << 20 // bytes of memory a zstd frame may ask for: as zstd(1)
	maxRatio   = 200       // unpacked to packed, beyond freeRatio; programs pack to a quarter
	freeRatio  = 16 << 20  // bytes
)

// unpacking is one archive on its way through.
type unpacking struct {
	name  string                 // of the binary
	limit int64                  // bytes, of the binary and of all that is unpacked
	to    io.Writer              // gets the binary
	begin func(size int64) error // is told its size before
	seen  map[string]bool
	count int
	found string
}

// unpack finds the binary in an archive of the given kind and size. Every entry
// is looked at, those that nobody wants too: an archive with one that is
// hostile was made by somebody who is.
func (u *unpacking) unpack(ctx context.Context, k kind, r io.ReaderAt, size int64) error {
	u.seen = map[string]bool{}
	u.limit = min(u.limit, max(freeRatio, maxRatio*size))
	packed := reader{ctx, io.NewSectionReader(r, 0, size)}
	var err error
	switch k {
	case zipped:
		err = u.unzip(ctx, r, size)
	case tarGz:
		var z *gzip.Reader
		if z, err = gzip.NewReader(packed); err == nil {
			err = u.untar(z)
		}
	case tarZst:
		var z *zstd.Decoder
		z, err = zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err == nil {
			err = u.untar(z)
			z.Close()
		}
	default:
		err = u.untar(packed)
	}
	if err == nil && u.found == "" {
		err = fmt.Errorf("%w: it holds neither bin/%s nor %[2]s", ErrArchive, u.name)
	}
	return corrupt(err)
}

// corrupt says that what a decoder complains of is the archive. Our own limits,
// the end of ctx and the disk are not.
func corrupt(err error) error {
	var disk *fs.PathError
	if err == nil || noSpace(err) || errors.As(err, &disk) || keeps(err) ||
		errors.Is(err, ErrArchive) || errors.Is(err, ErrTooLarge) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrArchive, err)
}

// admit judges one entry and reports whether it is the binary.
func (u *unpacking) admit(name string, mode fs.FileMode) (bool, error) {
	if u.count++; u.count > maxEntries {
		return false, fmt.Errorf("%w: more than %d entries", ErrArchive, maxEntries)
	}
	if len(name) > maxName {
		return false, fmt.Errorf("%w: the name of an entry is %d bytes long", ErrArchive, len(name))
	}
	clean := path.Clean(name)
	switch {
	case !filepath.IsLocal(clean), strings.Contains("/"+name+"/", "/../"), strings.ContainsAny(name, "\\\x00"):
		return false, fmt.Errorf("%w: entry %q leaves its folder", ErrArchive, name)
	case mode.IsDir():
		return false, nil
	case !mode.IsRegular():
		return false, fmt.Errorf("%w: entry %q is no file and no folder but %s", ErrArchive, name, special(mode))
	case u.seen[clean]:
		return false, fmt.Errorf("%w: entry %q is there twice", ErrArchive, name)
	}
	u.seen[clean] = true
	if clean != u.name && clean != "bin/"+u.name {
		return false, nil
	}
	if u.found != "" {
		return false, fmt.Errorf("%w: %s and %s are both there", ErrArchive, u.found, clean)
	}
	u.found = clean
	return true, nil
}

func special(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeDevice != 0:
		return "a device"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "something else"
}

// write copies the binary out, of which the archive says that it has size bytes.
func (u *unpacking) write(r io.Reader, size int64) error {
	if size < 0 || size > u.limit {
		return u.tooLarge()
	}
	if err := u.begin(size); err != nil {
		return err
	}
	n, err := io.Copy(u.to, io.LimitReader(r, size+1))
	if err == nil && n != size {
		err = fmt.Errorf("%w: the binary is of %d bytes and not of %d", ErrArchive, n, size)
	}
	return err
}

func (u *unpacking) tooLarge() error {
	return fmt.Errorf("%w: unpacked it has more than %d bytes", ErrTooLarge, u.limit)
}
