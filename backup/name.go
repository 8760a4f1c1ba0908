package backup

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// escapeName makes a file name fit for JSON: bytes that are not UTF-8, and the
// percent sign itself, become %XX.
func escapeName(name string) string {
	if utf8.ValidString(name) && !strings.Contains(name, "%") {
		return name
	}
	var b strings.Builder
	for len(name) > 0 {
		r, n := utf8.DecodeRuneInString(name)
		if r == utf8.RuneError && n == 1 || r == '%' {
			fmt.Fprintf(&b, "%%%02X", name[0])
		} else {
			b.WriteString(name[:n])
		}
		name = name[n:]
	}
	return b.String()
}

// unescapeName undoes escapeName.
func unescapeName(s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("file name %q: %w: an escape is cut", s, ErrCorrupt)
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("file name %q: %w: not an escape", s, ErrCorrupt)
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String(), nil
}

// fileName is a path as JSON holds it.
type fileName string

// MarshalText implements [encoding.TextMarshaler].
func (n fileName) MarshalText() ([]byte, error) { return []byte(escapeName(string(n))), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (n *fileName) UnmarshalText(text []byte) error {
	s, err := unescapeName(string(text))
	*n = fileName(s)
	return err
}
