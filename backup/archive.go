package backup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"
)

// archive is an archive that is being read.
type archive struct {
	info     Info
	data     *os.File
	manifest *os.File
	zip      *zstd.Decoder
	list     *manifestReader
	read     *rawSum // of the manifest's JSON
}

// rawSum hashes what passes.
type rawSum struct {
	hash *xxh3.Hasher
	size int64
}

func (s *rawSum) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	return s.hash.Write(p)
}

// openArchive opens the files of an archive, and compares what info and manifest
// say of each other and of the data, before any of that is read.
func openArchive(folder string, info Info) (a *archive, err error) {
	a = &archive{info: info, read: &rawSum{hash: xxh3.New()}}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if a.data, err = openWhole(folder, dataFile); err != nil {
		return a, err
	}
	if a.manifest, err = openWhole(folder, manifestFile); err != nil {
		return a, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, a.manifest); err != nil {
		return a, fmt.Errorf("read manifest: %w", err)
	}
	if have := hexOf(sum); have != info.Manifest {
		return a, fmt.Errorf("%s: %w: its sha256 is %s, not %s as %s says: damaged, or another archive's", manifestFile, ErrCorrupt, have, info.Manifest, infoFile)
	}
	if _, err := a.manifest.Seek(0, io.SeekStart); err != nil {
		return a, fmt.Errorf("read manifest: %w", err)
	}
	if a.zip, err = zstd.NewReader(a.manifest, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(mostWindow)); err != nil {
		return a, fmt.Errorf("%s: %w: %w", manifestFile, ErrCorrupt, err)
	}
	if a.list, err = readManifest(io.TeeReader(bufio.NewReader(a.zip), a.read)); err != nil {
		return a, err
	}
	return a, a.compare()
}

// mostWindow bounds what a decoder remembers of the stream.
const mostWindow = 16 << 20

// openWhole opens a file of an archive. A pipe in its place would wait for a writer for
// ever, a device never end.
func openWhole(folder, name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(folder, name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil { // no right to it, a disk that fails: that shows nothing of what is in it
		return nil, fmt.Errorf("open archive: %w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open archive: %w", err)
	}
	if !fi.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s: %w: not a file", name, ErrCorrupt)
	}
	// What is verified is what the disk has, not what is still in memory.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	return f, nil
}

// compare holds info, manifest and the data's size against each other.
func (a *archive) compare() error {
	m := &a.list.Manifest
	fi, err := a.data.Stat()
	if err != nil {
		return fmt.Errorf("open archive: %w", err)
	}
	packed, err := a.manifest.Stat()
	if err != nil {
		return fmt.Errorf("open archive: %w", err)
	}
	frames := int64(0)
	for _, n := range m.Frames {
		frames += int64(n)
	}
	switch {
	case fi.Size() != a.info.Size:
		return fmt.Errorf("%s: %w: it has %d bytes of %d", dataFile, ErrCorrupt, fi.Size(), a.info.Size)
	case m.ID != a.info.ID:
		return fmt.Errorf("%s: %w: it is that of %s, not of %s", manifestFile, ErrCorrupt, m.ID, a.info.ID)
	case frames >= a.info.Size:
		return fmt.Errorf("%s: %w: its frames are larger than the data", manifestFile, ErrCorrupt)
	}
	repeated := m.info()
	repeated.Bytes, repeated.Size, repeated.SHA256, repeated.Manifest = fi.Size()+packed.Size(), a.info.Size, a.info.SHA256, a.info.Manifest
	repeated.Verified, repeated.VerifiedAt = a.info.Verified, a.info.VerifiedAt
	want, err := json.Marshal(repeated)
	if err != nil {
		return err
	}
	have, err := json.Marshal(a.info)
	if err != nil {
		return err
	}
	if !bytes.Equal(want, have) {
		return fmt.Errorf("%s: %w: it is not what the manifest says: %s, not %s", infoFile, ErrCorrupt, have, want)
	}
	return nil
}

// Close closes the files.
func (a *archive) Close() {
	if a.zip != nil {
		a.zip.Close()
	}
	for _, f := range []*os.File{a.data, a.manifest} {
		if f != nil {
			f.Close()
		}
	}
}

// checkEnd reads what follows the items: the manifest's own member and the end of
// the tar.
func (a *archive) checkEnd(ctx context.Context, sum hash.Hash) error {
	begin := int64(0)
	for _, n := range a.list.Frames {
		begin += int64(n)
	}
	packed := io.TeeReader(io.NewSectionReader(a.data, begin, a.info.Size-begin), sum)
	zip, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(mostWindow))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	defer zip.Close()
	self := Item{Path: manifestMember, Type: itemFile, Mode: 0o600, Size: a.read.size, MTime: a.list.Created.UnixNano()}
	if err := checkHeader(zip, &self); err != nil {
		return err
	}
	h := xxh3.New()
	if _, err := io.CopyN(h, &interrupted{ctx, zip}, a.read.size); err != nil {
		return cut(err)
	}
	if h.Sum128() != a.read.hash.Sum128() {
		return fmt.Errorf("%w: the archive ends with another manifest than %s", ErrCorrupt, manifestFile)
	}
	end := make([]byte, int(-a.read.size&(tarBlock-1))+2*tarBlock+1)
	n, err := io.ReadFull(zip, end)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return corrupt(err)
	}
	if err == nil {
		return fmt.Errorf("%w: something follows the end of the archive", ErrCorrupt)
	}
	if n != len(end)-1 || !blank(end[:n]) {
		return fmt.Errorf("%w: the archive's end is not one", ErrCorrupt)
	}
	return nil
}

// interrupted is a reader that ends with its context.
type interrupted struct {
	ctx context.Context
	r   io.Reader
}

func (i *interrupted) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

func blank(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
