package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"unicode"

	"golang.org/x/sys/unix"
)

// tokenMin is how long a token must be: as many characters as nobody guesses.
const tokenMin = 32

// token is the secret of the door. Only its hash is kept.
type token struct {
	file string
	sum  atomic.Pointer[[sha256.Size]byte]
}

// is compares in constant time, whatever the lengths.
func (t *token) is(text string) bool {
	sum := sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(sum[:], t.sum.Load()[:]) == 1
}

// readToken reads a token and returns its hash. The file must be readable by
// its owner alone.
func readToken(file string) (sum [sha256.Size]byte, err error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not hold us up
	if err != nil {
		return sum, fmt.Errorf("read token: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return sum, fmt.Errorf("read token: %w", err)
	}
	if !info.Mode().IsRegular() {
		return sum, fmt.Errorf("token file %s is no regular file", file)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return sum, fmt.Errorf("token file %s has mode %04o: others may read it; run: chmod 600 %s", file, info.Mode().Perm(), file)
	}
	b, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return sum, fmt.Errorf("read token: %w", err)
	}
	text := strings.TrimSpace(string(b))
	if err := checkToken(text); err != nil {
		return sum, fmt.Errorf("token file %s: %w; make one with: head -c 32 /dev/urandom | base64", file, err)
	}
	return sha256.Sum256([]byte(text)), nil
}

func checkToken(text string) error {
	if len(text) < tokenMin {
		return fmt.Errorf("the token has %d characters, and at least %d are needed", len(text), tokenMin)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r > unicode.MaxASCII }) {
		return errors.New("the token must be one word of ASCII: a header carries it")
	}
	return nil
}
