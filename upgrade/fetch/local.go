package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// copy brings the file of a file URL, from its beginning: it is near.
func (f *Fetcher) copy(ctx context.Context, from location, p *partial) error {
	// A pipe without a writer must not hold us.
	in, err := os.OpenFile(from.url.Path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: no such file", ErrNotFound)
	}
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: not a regular file", ErrContent)
	case info.Size() > f.cfg.MaxBytes:
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, info.Size(), f.cfg.MaxBytes)
	}
	if err := p.restart(said{}); err != nil {
		return err
	}
	if err := room(p.dir, info.Size()); err != nil {
		return err
	}
	p.said.Total = info.Size()
	m := &meter{tell: f.cfg.OnProgress}
	m.update(0, p.said.Total, true)
	_, err = io.Copy(metered{p, m}, reader{ctx, io.LimitReader(in, f.cfg.MaxBytes+1)})
	m.update(p.size, p.said.Total, true)
	if err == nil && p.size > f.cfg.MaxBytes {
		err = fmt.Errorf("%w: more than %d bytes", ErrTooLarge, f.cfg.MaxBytes) // it grew
	}
	return err
}

type metered struct {
	*partial
	m *meter
}

func (w metered) Write(b []byte) (int, error) {
	n, err := w.partial.Write(b)
	w.m.update(w.size, w.said.Total, false)
	return n, err
}

// room reports early that the disk cannot take need more bytes: a disk that was
// full for a moment has ended nodes.
func room(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil // the write will tell
	}
	if free := int64(st.Bavail) * st.Bsize; need > free {
		return fmt.Errorf("%s: %d bytes are needed, %d are free: %w", dir, need, free, unix.ENOSPC)
	}
	return nil
}
