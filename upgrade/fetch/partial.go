package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/backup/failpoint"
)

// abandoned is the age at which the partial file of another source goes: its
// plan was cancelled or replaced.
const abandoned = 7 * 24 * time.Hour

// said is what the server told of the file whose beginning we have.
type said struct {
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"modified,omitempty"`
	Total    int64  `json:"total,omitempty"` // bytes; 0: it did not say
}

// validator is what If-Range holds; empty: it cannot be resumed.
func (s said) validator() string {
	if s.ETag != "" {
		return s.ETag
	}
	return s.Modified
}

// partial is one download between its first byte and its rename: three names
// that begin with a hash of the source, the file, what the server said, and the
// folder in which the result is put together. While it is open it is locked.
type partial struct {
	dir, key string
	file     *os.File
	size     int64
	said     said
	resumed  bool // the file is made of more than one answer
}

func (p *partial) path() string   { return filepath.Join(p.dir, p.key+".part") }
func (p *partial) record() string { return filepath.Join(p.dir, p.key+".json") }
func (p *partial) stage() string  { return filepath.Join(p.dir, p.key+".stage") }

// open takes up the download of from where it was left.
func open(dir string, from location) (*partial, error) {
	if dir == "" {
		return nil, errors.New("no folder for unfinished downloads")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	source := *from.url
	source.User = nil // the same file, whoever asks
	key := sha256.Sum256(fmt.Append(nil, source.String(), from.sums))
	p := &partial{dir: dir, key: hex.EncodeToString(key[:16])}
	sweep(dir, p.key)
	if err := p.lock(); err != nil {
		return nil, err
	}
	if err := p.recall(len(from.sums) > 0); err != nil {
		p.discard()
		p.close()
		return nil, err
	}
	return p, nil
}

// lock opens the file for this process alone.
func (p *partial) lock() error {
	for {
		f, err := os.OpenFile(p.path(), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return ErrBusy
			}
			return fmt.Errorf("lock %s: %w", p.path(), err)
		}
		// Whoever had the lock before may have moved the file away since.
		mine, err := f.Stat()
		if err != nil {
			f.Close()
			return err
		}
		if named, err := os.Stat(p.path()); err == nil && os.SameFile(mine, named) {
			p.file, p.size = f, mine.Size()
			return nil
		}
		f.Close()
	}
}

// recall reads what the server had said. Without it, or with nothing that could
// tell a damaged beginning, the file begins anew.
func (p *partial) recall(verifiable bool) error {
	_ = os.RemoveAll(p.stage())
	data, err := os.ReadFile(p.record())
	if err == nil {
		err = json.Unmarshal(data, &p.said)
	}
	if err != nil || !verifiable || p.said.validator() == "" || p.said.Total > 0 && p.size > p.said.Total {
		return p.restart(said{})
	}
	p.resumed = p.size > 0
	return nil
}

// restart empties the file, and remembers what is to fill it. In this order: a
// record beside bytes of another file would join the two.
func (p *partial) restart(s said) error {
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	p.size, p.said, p.resumed = 0, s, false
	if err := os.Remove(p.record()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	failpoint.At("fetch.emptied")
	if s.validator() == "" {
		return nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	// Neither is fsynced: what a power cut leaves is judged by its checksum.
	tmp := p.record() + ".tmp"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, p.record()); err != nil {
		return err
	}
	failpoint.At("fetch.recorded")
	return nil
}

// complete reports whether nothing is missing any more.
func (p *partial) complete() bool { return p.said.Total > 0 && p.size == p.said.Total }

// Write appends.
func (p *partial) Write(b []byte) (int, error) {
	n, err := p.file.WriteAt(b, p.size)
	p.size += int64(n)
	return n, err
}

// settle makes the file durable and returns what it is.
func (p *partial) settle(ctx context.Context) (digest, error) {
	failpoint.At("fetch.received")
	if err := p.file.Sync(); err != nil {
		return digest{}, err
	}
	failpoint.At("fetch.synced")
	return digestOf(ctx, io.NewSectionReader(p.file, 0, p.size))
}

// head returns the beginning of the file.
func (p *partial) head() []byte {
	b := make([]byte, headSize)
	n, _ := p.file.ReadAt(b, 0)
	return b[:n]
}

// discard removes all there is of the download.
func (p *partial) discard() {
	_ = os.RemoveAll(p.stage())
	_ = os.Remove(p.record())
	_ = os.Remove(p.record() + ".tmp")
	_ = os.Remove(p.path())
}

func (p *partial) close() { p.file.Close() }

// sweep removes what was left of other sources, long ago. A file that is being
// written is young.
func sweep(dir, but string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		key, suffix, _ := strings.Cut(e.Name(), ".")
		if len(key) != len(but) || key == but || suffix == "" {
			continue // not ours, whatever it does here
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
			_ = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}
