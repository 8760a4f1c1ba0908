package fetch

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
)

// maxDirectory bounds what is read of a zip to learn its entries, before they
// can be counted: a directory that lies takes memory without end.
const maxDirectory = 4 << 20

// unzip looks at every entry and unpacks the wanted one alone.
func (u *unpacking) unzip(ctx context.Context, r io.ReaderAt, size int64) error {
	b := &bounded{ctx: ctx, r: r, left: maxDirectory}
	z, err := zip.NewReader(b, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return err
	}
	b.open = true
	var binary *zip.File
	for _, f := range z.File {
		wanted, err := u.admit(f.Name, f.Mode())
		if err != nil {
			return err
		}
		if wanted {
			binary = f
		}
	}
	if binary == nil {
		return nil
	}
	if binary.Flags&1 != 0 {
		return fmt.Errorf("%w: %s is encrypted", ErrArchive, u.found)
	}
	in, err := binary.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	return u.write(in, int64(min(binary.UncompressedSize64, 1<<62)))
}

type bounded struct {
	ctx  context.Context
	r    io.ReaderAt
	left int
	open bool // the directory was read
}

func (b *bounded) ReadAt(p []byte, at int64) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.left -= len(p); b.left < 0 && !b.open {
		return 0, fmt.Errorf("%w: its directory is too long", ErrArchive)
	}
	return b.r.ReadAt(p, at)
}
