package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// What a caller may branch on. A full disk is unix.ENOSPC or unix.EDQUOT.
var (
	ErrInvalid    = errors.New("invalid source")                 // cannot be understood
	ErrNotAllowed = errors.New("not allowed")                    // by our configuration, or a redirect out of it
	ErrDenied     = errors.New("the server denies access")       // 401, 403
	ErrNotFound   = errors.New("not found")                      // 404, 410, or no such file
	ErrTooLarge   = errors.New("larger than the limit")          // as sent, or unpacked
	ErrChecksum   = errors.New("checksum mismatch")              // never accepted
	ErrArchive    = errors.New("archive refused")                // damaged, hostile, or without the binary
	ErrContent    = errors.New("this is no program")             // an empty file, a web page
	ErrBusy       = errors.New("it is already being downloaded") // by another process
)

// Config says where and within what limits. Zero values mean the defaults.
type Config struct {
	// Dir holds unfinished downloads. It must be ours alone and on the file
	// system of the destinations. It has no default.
	Dir string

	MaxBytes int64         // of a download, and of all that it unpacks to; 1 GiB
	Timeout  time.Duration // of a download with all its retries; 30 minutes
	Idle     time.Duration // without a byte, then the connection is given up; 30 seconds
	Backoff  time.Duration // before the first retry, doubling to 30 seconds; 1 second

	AllowHTTP       bool // to other machines too
	AllowNoChecksum bool // an absent one; a mismatch never

	// Observers, called from within Get, and not after it.
	OnProgress func(Progress)
	OnRetry    func(why error, wait time.Duration)
}

// maxBackoff is what the wait between two attempts doubles to.
const maxBackoff = 30 * time.Second

// Fetcher downloads binaries.
type Fetcher struct {
	cfg    Config
	client *http.Client
}

// New returns a Fetcher. It makes the built-in [Roots] known.
func New(cfg Config) *Fetcher {
	Roots()
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 1 << 30
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Minute
	}
	if cfg.Idle <= 0 {
		cfg.Idle = 30 * time.Second
	}
	if cfg.Backoff <= 0 {
		cfg.Backoff = time.Second
	}
	f := &Fetcher{cfg: cfg}
	f.client = newClient(f.allowed)
	return f
}

// Result is what was put in place.
type Result struct {
	SHA256   string   // of the binary, in hex
	Bytes    int64    // of the binary
	Archive  string   // what it came in: zip, tar.gz, tar.zst, tar; empty: as it is
	Download int64    // bytes of what was downloaded
	Verified []string // the checksums it was held against; empty: there was none
}

// Get downloads src and puts the executable at dest, whole and verified or not
// at all. Folders that are missing above dest come with it in the same rename.
// In an archive the binary is bin/NAME or NAME, for the file name of dest.
//
// What has arrived when ctx ends, or the program, is kept, and the next Get of
// the same source goes on from there. It is kept when the server cannot be
// reached in time, too, and in no other case. A checksum mismatch, an unknown
// file and whatever else a retry would not change is returned at once.
func (f *Fetcher) Get(ctx context.Context, src Source, dest string) (Result, error) {
	r, err := f.get(ctx, src, dest)
	if err != nil {
		return Result{}, fmt.Errorf("fetch %s: %w", src, err)
	}
	return r, nil
}

func (f *Fetcher) get(ctx context.Context, src Source, dest string) (r Result, err error) {
	from, err := locate(src)
	if err != nil {
		return r, err
	}
	if err := f.allowed(from.url); err != nil {
		return r, err
	}
	if len(from.sums) == 0 && !f.cfg.AllowNoChecksum {
		return r, fmt.Errorf("%w without a checksum: add one, sha256:HEX", ErrNotAllowed)
	}
	p, err := open(f.cfg.Dir, from)
	if err != nil {
		return r, err
	}
	defer f.client.CloseIdleConnections()
	defer func() {
		if err != nil && !keeps(err) {
			p.discard()
		}
		p.close()
	}()
	sum, err := f.fill(ctx, from, p)
	if err != nil {
		return r, err
	}
	for _, s := range from.sums {
		r.Verified = append(r.Verified, s.String())
	}
	r.Download = p.size
	return f.finish(ctx, p, sum, dest, r)
}

// keeps reports whether what arrived so far is of use to the next Get.
func keeps(err error) bool {
	var t *transient
	return errors.As(err, &t) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// fill downloads and verifies.
func (f *Fetcher) fill(ctx context.Context, from location, p *partial) (digest, error) {
	get := f.download
	if from.url.Scheme == "file" {
		get = f.copy
	}
	for again := false; ; again = true {
		if err := get(ctx, from, p); err != nil {
			return digest{}, err
		}
		sum, err := p.settle(ctx)
		if err != nil {
			return digest{}, err
		}
		err = sum.verify(from.sums)
		if err == nil {
			return sum, nil
		}
		// Of a file put together from pieces, one may have been damaged by a power
		// cut or changed behind an unchanged validator: that is not the source's
		// fault. The same in one piece is, or a second time.
		if !p.resumed || again {
			if what := judge(p.head()); what != nil {
				return digest{}, fmt.Errorf("%w; %w", err, what)
			}
			return digest{}, err
		}
		if err := p.restart(said{}); err != nil {
			return digest{}, err
		}
	}
}
