package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"
)

// tarBlock is what everything in a tar stream is padded to.
const tarBlock = 512

var zeros [2 * tarBlock]byte

// packer writes entries into the tar stream, and what it wrote into the list of
// the manifest.
type packer struct {
	ctx    context.Context
	w      *frameWriter
	items  *itemList
	pace   pace
	online bool
	seen   func(n int64) // bytes of content

	at    int64 // in the tar stream
	count int64
	files int64
	bytes int64
	disk  int64
	names map[inode]string // first names of files that have several
	hash  *xxh3.Hasher
}

type inode struct{ dev, ino uint64 }

// add puts one entry into the stream. What has vanished is left out if the node
// is online.
func (p *packer) add(root string, e Entry) error {
	it := itemOf(e)
	if !e.Mode.IsRegular() {
		return p.write(&it, nil)
	}
	if e.Links > 1 {
		if first, ok := p.names[inode{e.Dev, e.Ino}]; ok {
			it.Type, it.Size, it.Sparse, it.Linked, it.Target = itemHardLink, 0, false, false, fileName(first)
			return p.write(&it, nil)
		}
	}
	f, now, err := openRegular(filepath.Join(root, e.Path))
	if p.online && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if !p.online && (now.Ino != e.Ino || now.Size != e.Size || !now.ModTime.Equal(e.ModTime)) {
		return fmt.Errorf("%q: %w: it was replaced or written to", e.Path, ErrChanged)
	}
	now.Path, now.Class = e.Path, e.Class
	it = itemOf(now)
	if err := p.write(&it, f); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &fs.PathError{Op: "stat", Path: e.Path, Err: err}
	}
	if after := entryOf(&st); !p.online && (after.Size != now.Size || !after.ModTime.Equal(now.ModTime)) {
		return fmt.Errorf("%q: %w: it was written to while it was read", e.Path, ErrChanged)
	}
	if e.Links > 1 {
		p.names[inode{e.Dev, e.Ino}] = e.Path
	}
	p.files++
	p.bytes += it.Size
	p.disk += min(it.Size, now.Blocks*512)
	return nil
}

// write puts an item and its content into the stream, and its line into the list.
func (p *packer) write(it *Item, content *os.File) error {
	h, err := it.header()
	if err != nil {
		return fmt.Errorf("%q: %w", it.Path, err)
	}
	if err := p.put(h); err != nil {
		return err
	}
	if it.Type == itemFile {
		it.At = p.at
		if err := p.content(it, content); err != nil {
			return err
		}
		if err := p.pad(it.Size); err != nil {
			return err
		}
	}
	p.count++
	return p.items.add(it)
}

func (p *packer) put(b []byte) error {
	n, err := p.w.Write(b)
	p.at += int64(n)
	return err
}

// blocks rounds n up to whole blocks.
func blocks(n int) int { return (n + tarBlock - 1) &^ (tarBlock - 1) }

func (p *packer) pad(size int64) error { return p.put(zeros[:-size&(tarBlock-1)]) }

// content reads exactly the bytes that the header promised: a table may grow
// meanwhile.
func (p *packer) content(it *Item, f *os.File) error {
	p.hash.Reset()
	holes := holes{fd: int(f.Fd()), size: it.Size}
	reader := newDirectReader(f, it.Size)
	for at := int64(0); at < it.Size; {
		room, err := p.w.room()
		if err != nil {
			return err
		}
		whole := room // up to the block's end, which is where a disk's reads end
		room = room[:min(int64(len(room)), it.Size-at)]
		n, hole := len(room), int64(0)
		if it.Sparse {
			if hole, err = holes.at(at); err != nil {
				return &fs.PathError{Op: "seek", Path: string(it.Path), Err: err}
			}
		}
		if hole > 0 {
			n = int(min(hole, int64(n)))
			clear(room[:n])
		} else {
			n, err = reader.read(whole[:min(len(whole), blocks(n))], at)
			n = min(n, len(room)) // it may have grown
			if err != nil {
				return &fs.PathError{Op: "read", Path: string(it.Path), Err: err}
			}
			if n == 0 {
				return fmt.Errorf("%q: %w: it had %d bytes and ends after %d", it.Path, ErrChanged, it.Size, at)
			}
			if err := p.pace.wait(p.ctx, n); err != nil {
				return err
			}
		}
		_, _ = p.hash.Write(room[:n])
		p.w.filled(n)
		at += int64(n)
		p.seen(int64(n))
	}
	p.at += it.Size
	sum := p.hash.Sum128().Bytes()
	it.Hash = fmt.Sprintf("%x", sum[:])
	return nil
}

// holes knows where a sparse file has no bytes.
type holes struct {
	fd          int
	size        int64
	start, end  int64 // of the data found last
	lookedSince bool
}

// at returns how much of a hole begins at pos; 0 where there is data.
func (h *holes) at(pos int64) (int64, error) {
	if h.lookedSince && pos < h.end {
		return max(h.start-pos, 0), nil
	}
	start, err := unix.Seek(h.fd, pos, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) { // none up to the end
		start, err = h.size, nil
	}
	if err != nil {
		return 0, err
	}
	end := h.size
	if start < h.size {
		if end, err = unix.Seek(h.fd, start, unix.SEEK_HOLE); err != nil {
			return 0, err
		}
	}
	h.start, h.end, h.lookedSince = min(start, h.size), max(end, pos+1), true
	return max(h.start-pos, 0), nil
}

// itemList is the manifest's list while the archive is made: on disk, as what
// comes before it is only known at the end.
type itemList struct {
	file *os.File
	zip  *zstd.Encoder
	enc  *json.Encoder
	size int64
	any  bool
}

func newItemList(file *os.File) (*itemList, error) {
	zip, err := zstd.NewWriter(file, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	l := &itemList{file: file, zip: zip}
	l.enc = json.NewEncoder(l)
	l.enc.SetEscapeHTML(false)
	return l, nil
}

func (l *itemList) add(it *Item) error { return l.enc.Encode(it) }

// Write takes one line of the encoder's, and puts the comma between two.
func (l *itemList) Write(line []byte) (int, error) {
	if l.any {
		if n, err := l.zip.Write([]byte(",\n")); err != nil {
			return n, err
		}
		l.size += 2
	}
	l.any = true
	n, err := l.zip.Write(line[:len(line)-1])
	l.size += int64(n)
	return len(line), err
}

// copy writes the list to w.
func (l *itemList) copy(w io.Writer) error {
	if err := l.zip.Close(); err != nil {
		return err
	}
	if _, err := l.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r, err := zstd.NewReader(l.file, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return err
}

// finish ends the tar stream with the manifest, which it also writes to out,
// compressed.
func (p *packer) finish(m *Manifest, out io.Writer) error {
	sizes, err := p.w.drain()
	if err != nil {
		return err
	}
	m.Frames = append([]int32{}, sizes...)
	m.Count, m.Files, m.DataBytes, m.DiskBytes, m.TarBytes, m.FrameSize = p.count, p.files, p.bytes, p.disk, p.at, frameSize
	open, closing, err := m.enclose()
	if err != nil {
		return err
	}
	size := int64(len(open)) + p.items.size + int64(len(closing))
	self := Item{Path: manifestMember, Type: itemFile, Mode: 0o600, Size: size, MTime: m.Created.Truncate(time.Second).UnixNano()}
	h, err := self.header()
	if err != nil {
		return err
	}
	if err := p.put(h); err != nil {
		return err
	}
	// Half of it are hashes, in which a longer search finds only matches that do not pay.
	zip, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return err
	}
	both := io.MultiWriter(p.w, zip)
	if _, err := both.Write(open); err != nil {
		return err
	}
	if err := p.items.copy(both); err != nil {
		return err
	}
	if _, err := both.Write(closing); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	if err := p.pad(size); err != nil {
		return err
	}
	if err := p.put(zeros[:]); err != nil { // the end of a tar
		return err
	}
	_, err = p.w.drain()
	return err
}
