package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/zeebo/xxh3"
)

// Verify reads an archive back from the disk, all of it, and compares it with its
// manifest: an id of this repository, or any folder that holds an archive. It
// returns [ErrNotFound], [ErrCorrupt] with the entry, or [ErrFormat]. Of an
// archive of this repository it notes what it found, for List and Prune.
func (r *Repo) Verify(ctx context.Context, idOrFolder string, onProgress func(Progress)) error {
	folder, err := r.find(idOrFolder)
	if err != nil {
		return err
	}
	info, err := readInfo(folder)
	if err != nil {
		return err
	}
	err = r.verify(ctx, folder, info, sealOf(info), 0, onProgress)
	if err == nil || errors.Is(err, ErrCorrupt) {
		r.note(folder, err == nil)
	}
	if err != nil {
		return fmt.Errorf("verify %s: %w", info.ID, err)
	}
	return nil
}

func (r *Repo) verify(ctx context.Context, folder string, info Info, s seal, workers int, onProgress func(Progress)) error {
	a, err := openArchive(folder, info)
	if err != nil {
		return err
	}
	defer a.Close()
	return a.check(ctx, s, r.readers(workers), nil, counter(a.list.DataBytes, onProgress))
}

// readers returns how many decoders to start: decoding is fast, so one while the
// node runs is enough.
func (r *Repo) readers(wish int) int {
	if wish <= 0 && r.cfg.NodeRuns() {
		return 1
	}
	return workers(wish)
}

// note writes what was found into the archive's info, if that is ours to write:
// a repository may be read-only, or busy.
func (r *Repo) note(folder string, whole bool) {
	if filepath.Dir(folder) != filepath.Clean(r.cfg.Dir) {
		return
	}
	l, err := r.lock("note a verification")
	if err != nil {
		return
	}
	defer l.Close()
	info, err := readInfo(folder)
	if err != nil || info.ID != filepath.Base(folder) {
		return
	}
	info.Verified, info.VerifiedAt = whole, r.cfg.Now().UTC().Truncate(time.Second)
	_ = writeJSON(filepath.Join(folder, infoFile), info)
}

// seal is what the bytes of data.tar.zst must hash to.
type seal struct {
	hash hash.Hash // empty
	want string    // hex
}

// sealOf is the one that everybody can check. Who has just written the data knows
// a cheaper one.
func sealOf(info Info) seal { return seal{sha256.New(), info.SHA256} }

func hexOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// check reads the stream and the manifest side by side, and hands what it finds
// right to into, if there is one. That both have the same entries in the same
// order shows what is missing, extra or there twice without that anybody holds
// the list.
func (a *archive) check(ctx context.Context, s seal, workers int, into *unpacker, seen func(int64)) error {
	m, sum := a.list, s.hash
	r, err := newFrameReader(ctx, a.data, m.Frames, m.TarBytes, workers, sum)
	if err != nil {
		return err
	}
	defer r.Close()
	c := comparison{r: r, m: m, into: into, seen: seen, hash: xxh3.New(), linkable: map[uint64]bool{}}
	for {
		it, err := m.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := c.item(&it); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%q: %w", it.Path, err)
		}
	}
	if c.files != m.Files || c.bytes != m.DataBytes || r.at != m.TarBytes {
		return fmt.Errorf("%s: %w: %d files of %d bytes, but it says %d of %d", manifestFile, ErrCorrupt, c.files, c.bytes, m.Files, m.DataBytes)
	}
	r.Close() // sum is ours from here
	if err := a.checkEnd(ctx, sum); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%q: %w", manifestMember, err)
	}
	if have := hexOf(sum); have != s.want {
		return fmt.Errorf("%s: %w: its hash is %s, not %s", dataFile, ErrCorrupt, have, s.want)
	}
	return nil
}

// comparison compares the stream with the manifest, item by item.
type comparison struct {
	r        *frameReader
	m        *manifestReader
	into     *unpacker
	seen     func(int64)
	hash     *xxh3.Hasher
	files    int64
	bytes    int64
	linkable map[uint64]bool // hashes of the paths that hard links may name
}

func (c *comparison) item(it *Item) error {
	if c.bytes += it.Size; c.bytes > c.m.DataBytes {
		return fmt.Errorf("%w: more than the %d bytes that the manifest has in all", ErrCorrupt, c.m.DataBytes)
	}
	if err := checkHeader(c.r, it); err != nil {
		return err
	}
	switch it.Type {
	case itemFile:
		if it.At != c.r.at {
			return fmt.Errorf("%w: it begins at %d, not at %d as the manifest says", ErrCorrupt, c.r.at, it.At)
		}
		c.files++
		if it.Linked {
			c.linkable[xxh3.HashString(string(it.Path))] = true
		}
	case itemHardLink:
		if !c.linkable[xxh3.HashString(string(it.Target))] {
			return fmt.Errorf("%w: a link to %q, which is not there", ErrCorrupt, it.Target)
		}
	}
	if c.into != nil {
		if err := c.into.begin(it); err != nil {
			return err
		}
	}
	if it.Type == itemFile {
		if err := c.content(it); err != nil {
			return err
		}
	}
	if c.into != nil {
		return c.into.end(it)
	}
	return nil
}

// content reads, hashes and hands over what is in a file.
func (c *comparison) content(it *Item) error {
	c.hash.Reset()
	for left := it.Size; left > 0; {
		p, err := c.r.take(left)
		if err != nil {
			return cut(err)
		}
		_, _ = c.hash.Write(p)
		if c.into != nil {
			if err := c.into.write(p); err != nil {
				return err
			}
		}
		left -= int64(len(p))
		c.seen(int64(len(p)))
	}
	sum := c.hash.Sum128().Bytes()
	if have := fmt.Sprintf("%x", sum[:]); have != it.Hash {
		return fmt.Errorf("%w: its content is not what was archived (xxh3 %s, not %s)", ErrCorrupt, have, it.Hash)
	}
	for pad := -it.Size & (tarBlock - 1); pad > 0; {
		p, err := c.r.take(pad)
		if err != nil {
			return cut(err)
		}
		if !blank(p) {
			return fmt.Errorf("%w: something lies behind its end", ErrCorrupt)
		}
		pad -= int64(len(p))
	}
	return nil
}

// checkHeader reads one header from r and compares it. Of the bytes that we would
// write nothing need be understood; what they are instead, archive/tar tells.
//
// Each gets a tar reader of its own: that reads no further than the header, and
// what follows is taken from the frames without a copy.
func checkHeader(r io.Reader, it *Item) error {
	want, plain := it.plainHeader(nil)
	if plain {
		have := make([]byte, len(want))
		if _, err := io.ReadFull(r, have); err != nil {
			return cut(err)
		}
		if bytes.Equal(want, have) {
			return nil
		}
		r = io.MultiReader(bytes.NewReader(have), r)
	}
	h, err := tar.NewReader(r).Next()
	if err != nil {
		return cut(err)
	}
	d := it.differs(h)
	if d == "" && plain {
		d = "the archive has a header of another make"
	}
	if d != "" {
		return fmt.Errorf("%w: %s", ErrCorrupt, d)
	}
	return nil
}

// cut makes the stream's end, where there should be more, an error.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the archive ends before it", ErrCorrupt)
	}
	return corrupt(err)
}

// corrupt says that what was read is at fault, unless reading itself was: a disk
// that fails has not yet shown what it holds.
func corrupt(err error) error {
	var disk *fs.PathError
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrFormat) || errors.As(err, &disk) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}
