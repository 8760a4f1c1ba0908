package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// seam is how much before its end a staged copy must equal the file that it is to
// be continued from: a file that was cut and has grown anew differs there.
const seam = 1 << 20

// stage brings the copy of a file that grows at its end up to date: only the tail
// is copied if the rest can be trusted, else all. It never writes through a link.
func (p *pass) stage(ctx context.Context, e Entry) error {
	at := e.Path
	known, ok := p.sources[at]
	if ok && known.ino == e.Ino && e.Size >= known.size {
		now, err := p.tail(ctx, at, known)
		if err == nil {
			p.sources[at] = now
			return nil
		}
		if !errors.Is(err, errSeam) {
			return err
		}
	}
	if err := os.Remove(p.mirror(at)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	delete(p.sources, at)
	copied, err := p.copier.file(ctx, p.tree.at(at), p.mirror(at))
	if err != nil {
		return err
	}
	p.sources[at] = source{ino: copied.Ino, size: copied.Size, mtime: copied.ModTime.UnixNano()}
	return nil
}

var errSeam = errors.New("the file is not what was staged of it")

func (p *pass) tail(ctx context.Context, at string, known source) (source, error) {
	in, e, err := openRegular(p.tree.at(at))
	if err != nil {
		return source{}, err
	}
	defer in.Close()
	out, err := os.OpenFile(p.mirror(at), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return source{}, errSeam
	}
	if err != nil {
		return source{}, err
	}
	defer out.Close()
	a, errA := in.Stat()
	b, errB := out.Stat()
	if errA != nil || errB != nil {
		return source{}, errors.Join(errA, errB)
	}
	if os.SameFile(a, b) || e.Ino != known.ino || e.Size < known.size || b.Size() != known.size {
		return source{}, errSeam
	}
	if err := sameSeam(in, out, known.size); err != nil {
		return source{}, err
	}
	if err := out.Truncate(e.Size); err != nil {
		return source{}, spaceError(err)
	}
	if err := p.copier.data(ctx, out, in, known.size, e.Size); err != nil {
		return source{}, fmt.Errorf("copy the tail of %s: %w", p.tree.at(at), spaceError(err))
	}
	if err := dress(out, e); err != nil {
		return source{}, err
	}
	return source{ino: e.Ino, size: e.Size, mtime: e.ModTime.UnixNano()}, nil
}

func sameSeam(in, out *os.File, end int64) error {
	n := min(end, seam)
	a, b := make([]byte, n), make([]byte, n)
	if _, err := in.ReadAt(a, end-n); err != nil {
		return fmt.Errorf("read %s: %w", in.Name(), err)
	}
	if _, err := out.ReadAt(b, end-n); err != nil {
		return fmt.Errorf("read %s: %w", out.Name(), err)
	}
	if !bytes.Equal(a, b) {
		return errSeam
	}
	return nil
}
