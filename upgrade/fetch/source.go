package fetch

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// Source is where a binary, or an archive that holds it, comes from. It prints
// without what may be secret.
type Source struct {
	// URL is https, file, or http where that is allowed. It may carry a checksum
	// of its own, ?checksum=sha256:HEX, which the server does not get to see.
	URL string

	// Checksum of what the URL delivers: sha256:HEX or sha512:HEX.
	Checksum string
}

// String returns the URL without user, query and fragment.
func (s Source) String() string {
	u, err := url.Parse(s.URL)
	if err != nil {
		return "a URL that is none"
	}
	return redacted(u)
}

// location is a Source that was understood.
type location struct {
	url  *url.URL // without a checksum
	sums []checksum
}

func locate(s Source) (location, error) {
	u, err := url.Parse(s.URL)
	if err != nil { // its text may quote a password
		return location{}, fmt.Errorf("%w: not a URL", ErrInvalid)
	}
	to := location{url: u}
	u.Fragment, u.RawFragment = "", ""

	// By hand: a signed query must stay as it is, in order and escapes.
	var rest []string
	texts := []string{s.Checksum}
	for _, pair := range strings.Split(u.RawQuery, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if key != "checksum" {
			rest = append(rest, pair)
			continue
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return location{}, fmt.Errorf("%w: the checksum in the URL: %w", ErrInvalid, err)
		}
		if value == "" {
			return location{}, fmt.Errorf("%w: the checksum in the URL is empty", ErrInvalid)
		}
		texts = append(texts, value)
	}
	u.RawQuery = strings.Join(rest, "&")

	for _, text := range texts {
		if text == "" {
			continue
		}
		sum, err := parseChecksum(text)
		if err != nil {
			return location{}, err
		}
		for _, other := range to.sums {
			if other.algorithm == sum.algorithm && other.hex != sum.hex {
				return location{}, fmt.Errorf("%w: two checksums, %s and %s", ErrInvalid, other, sum)
			}
		}
		if !slices.Contains(to.sums, sum) {
			to.sums = append(to.sums, sum)
		}
	}
	switch {
	case u.Scheme == "file":
		if u.Host != "" && u.Host != "localhost" || !filepath.IsAbs(u.Path) {
			return location{}, fmt.Errorf("%w: a file URL needs an absolute path: file:///PATH", ErrInvalid)
		}
	case u.Scheme != "https" && u.Scheme != "http":
		return location{}, fmt.Errorf("%w: scheme %q; https, http and file are known", ErrNotAllowed, u.Scheme)
	case u.Hostname() == "":
		return location{}, fmt.Errorf("%w: the URL names no host", ErrInvalid)
	}
	return to, nil
}

// allowed reports why u may not be asked. Plain http can be changed on its way;
// on this machine there is no way.
func (f *Fetcher) allowed(u *url.URL) error {
	if u.Scheme == "https" || u.Scheme == "file" || f.cfg.AllowHTTP && u.Scheme == "http" {
		return nil
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("%w: %s is not https", ErrNotAllowed, redacted(u))
}
