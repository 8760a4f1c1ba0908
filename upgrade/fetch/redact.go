package fetch

import (
	"errors"
	"net/url"
	"regexp"
)

// redacted returns u without what may be secret: a token stands in the place of
// the user as often as in that of the password, and a signature in the query.
func redacted(u *url.URL) string {
	r := url.URL{Scheme: u.Scheme, Opaque: u.Opaque, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	text := r.String()
	if u.RawQuery != "" {
		text += "?..."
	}
	return text
}

var (
	userinfo = regexp.MustCompile(`://[^/\s"']*@`)
	query    = regexp.MustCompile(`\?[^\s"']+`)
)

// scrub removes from the text of a foreign error what redacted removes from a
// URL: net/http quotes redirects and proxies as they are.
func scrub(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // who adds the URL is our caller
	}
	text := query.ReplaceAllString(userinfo.ReplaceAllString(err.Error(), "://"), "?...")
	if text == err.Error() {
		return err
	}
	return scrubbed{text, err}
}

type scrubbed struct {
	text string
	err  error
}

func (s scrubbed) Error() string { return s.text }
func (s scrubbed) Unwrap() error { return s.err }
