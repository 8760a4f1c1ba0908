package fetch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/backup/durable"
	"github.com/wemix/wemixvisor/backup/failpoint"
)

// finish makes of a verified download the executable at dest.
func (f *Fetcher) finish(ctx context.Context, p *partial, sum digest, dest string, r Result) (Result, error) {
	head := p.head()
	k := kindOf(head)
	if err := judge(head); err != nil {
		return Result{}, err
	}
	r.Archive, r.SHA256, r.Bytes = string(k), sum.sha256, p.size
	if err := os.Mkdir(p.stage(), 0o700); err != nil {
		return Result{}, err
	}
	binary := filepath.Join(p.stage(), "binary")
	if k == plain {
		if err := ctx.Err(); err != nil {
			return Result{}, err
		}
		// What follows takes no time, so that the download may lose its name.
		if err := os.Rename(p.path(), binary); err != nil {
			return Result{}, err
		}
		if err := p.file.Chmod(0o755); err != nil { // whatever the umask says
			return Result{}, err
		}
		if err := p.file.Sync(); err != nil {
			return Result{}, err
		}
	} else {
		failpoint.At("fetch.verified")
		var err error
		if r.SHA256, r.Bytes, err = f.extract(ctx, k, p, filepath.Base(dest), binary); err != nil {
			_ = os.RemoveAll(p.stage())
			return Result{}, err
		}
	}
	failpoint.At("fetch.unpacked")
	if err := place(binary, filepath.Join(p.stage(), "tree"), dest); err != nil {
		return Result{}, err
	}
	failpoint.At("fetch.placed")
	p.discard()
	failpoint.At("fetch.cleared")
	return r, nil
}

// extract unpacks the binary called name into the new file to.
func (f *Fetcher) extract(ctx context.Context, k kind, p *partial, name, to string) (sum string, size int64, err error) {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o700)
	if err != nil {
		return "", 0, err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	hash := sha256.New()
	u := &unpacking{
		name: name, limit: f.cfg.MaxBytes, to: io.MultiWriter(out, hash),
		begin: func(size int64) error { return room(p.dir, size) },
	}
	if err := u.unpack(ctx, k, p.file, p.size); err != nil {
		return "", 0, err
	}
	head := make([]byte, headSize)
	n, err := out.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return "", 0, err
	}
	if err := judge(head[:n]); err != nil {
		return "", 0, fmt.Errorf("%s in the archive: %w", u.found, err)
	}
	info, err := out.Stat()
	if err != nil {
		return "", 0, err
	}
	if err := out.Chmod(0o755); err != nil { // whatever the archive says, and the umask
		return "", 0, err
	}
	return sumOf(hash), info.Size(), out.Sync()
}

// place moves binary to dest. If folders are missing above dest, they are made
// in tree, with the binary in them, and the topmost is renamed: nobody sees it
// empty.
func place(binary, tree, dest string) error {
	top := dest
	for dir := filepath.Dir(dest); ; dir = filepath.Dir(dir) {
		_, err := os.Stat(dir)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		top = dir
	}
	from := binary
	if top != dest {
		below, err := filepath.Rel(top, dest)
		if err != nil {
			return err
		}
		from = tree
		inside := filepath.Join(tree, below)
		if err := os.MkdirAll(filepath.Dir(inside), 0o755); err != nil {
			return err
		}
		if err := os.Rename(binary, inside); err != nil {
			return err
		}
		for dir := filepath.Dir(inside); len(dir) >= len(tree); dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				return err
			}
			if err := durable.SyncDir(dir); err != nil {
				return err
			}
		}
	}
	failpoint.At("fetch.staged")
	if err := os.Rename(from, top); err != nil {
		return err
	}
	failpoint.At("fetch.renamed")
	return durable.SyncDir(filepath.Dir(top))
}

// noSpace reports whether err is a full disk, or a full quota.
func noSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
