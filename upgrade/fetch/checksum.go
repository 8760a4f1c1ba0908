package fetch

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"
)

// checksum is what a source promises of its bytes.
type checksum struct {
	algorithm string // sha256 or sha512
	hex       string // lower case
}

func (c checksum) String() string { return c.algorithm + ":" + c.hex }

func parseChecksum(text string) (checksum, error) {
	algorithm, digest, _ := strings.Cut(strings.TrimSpace(text), ":")
	c := checksum{strings.ToLower(algorithm), strings.ToLower(digest)}
	size := map[string]int{"sha256": sha256.Size, "sha512": sha512.Size}[c.algorithm]
	if b, err := hex.DecodeString(c.hex); err != nil || size == 0 || len(b) != size {
		return checksum{}, fmt.Errorf("%w: checksum %.160q is not sha256:HEX or sha512:HEX", ErrInvalid, text)
	}
	return c, nil
}

// digest is what bytes have been found to be.
type digest struct {
	sha256, sha512 string
}

// digestOf reads r to its end.
func digestOf(ctx context.Context, r io.Reader) (digest, error) {
	h256, h512 := sha256.New(), sha512.New()
	if _, err := io.Copy(io.MultiWriter(h256, h512), reader{ctx, r}); err != nil {
		return digest{}, err
	}
	return digest{sumOf(h256), sumOf(h512)}, nil
}

func sumOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// verify reports the first of the promises that d breaks.
func (d digest) verify(sums []checksum) error {
	for _, want := range sums {
		have := checksum{"sha256", d.sha256}
		if want.algorithm == "sha512" {
			have = checksum{"sha512", d.sha512}
		}
		if want != have {
			return fmt.Errorf("%w: want %s, have %s", ErrChecksum, want, have)
		}
	}
	return nil
}

// reader ends with ctx: a file or an archive may be long.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
