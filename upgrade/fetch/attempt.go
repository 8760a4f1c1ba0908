package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

var errIdle = errors.New("no byte came")

// attempt asks once for what is missing. Every error that a second attempt may
// not meet is a [transient].
func (f *Fetcher) attempt(ctx context.Context, from location, p *partial, m *meter) error {
	if p.complete() {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// One limit for all that can hang: the dial, the answer, each read.
	idle := time.AfterFunc(f.cfg.Idle, func() { cancel(errIdle) })
	defer idle.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.url.String(), nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, scrub(err))
	}
	req.Header.Set("User-Agent", "wemixvisor")
	req.Header.Set("Accept-Encoding", "identity")
	if p.size > 0 && p.said.validator() == "" {
		if err := p.restart(said{}); err != nil { // nothing says that it would be the same file
			return err
		}
	}
	if p.size > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", p.size))
		req.Header.Set("If-Range", p.said.validator())
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return f.interrupted(ctx, err)
	}
	defer resp.Body.Close()
	if err := f.begin(resp, p); err != nil || p.complete() {
		return err
	}
	if err := room(p.dir, resp.ContentLength); err != nil {
		return err
	}
	return f.receive(ctx, resp, p, m, idle)
}

// begin understands the answer's head and prepares the file for its body.
func (f *Fetcher) begin(resp *http.Response, p *partial) error {
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
		if resp.ContentLength > f.cfg.MaxBytes {
			return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, resp.ContentLength, f.cfg.MaxBytes)
		}
		return p.restart(describe(resp))
	case code == http.StatusPartialContent:
		return f.resume(resp, p)
	case code == http.StatusRequestedRangeNotSatisfiable:
		var size int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes */%d", &size); err == nil && size > 0 && size == p.size {
			p.said.Total = size // all was here, and nobody had told us its length
			return nil
		}
		return startAgain(p, errors.New("the server's file is another by now"))
	case code == http.StatusNotFound, code == http.StatusGone:
		return fmt.Errorf("%w: the server answers %s", ErrNotFound, status(resp))
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Errorf("%w: %s", ErrDenied, status(resp))
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		return &transient{fmt.Errorf("the server answers %s", status(resp)), retryAfter(resp)}
	default:
		return fmt.Errorf("the server answers %s", status(resp))
	}
}

// status is the code and our own words for it: the server's would be foreign.
func status(resp *http.Response) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
}

// resume checks that a partial answer is the missing part of the same file.
func (f *Fetcher) resume(resp *http.Response, p *partial) error {
	var first, last, total int64
	now := describe(resp)
	_, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total)
	switch {
	case err != nil || p.size == 0 || first != p.size || last < first || total <= last:
		return startAgain(p, errors.New("the server sends a part that was not asked for"))
	case p.said.Total > 0 && total != p.said.Total, p.said.ETag != "" && now.ETag != "" && p.said.ETag != now.ETag:
		return startAgain(p, errors.New("the server's file changed"))
	case total > f.cfg.MaxBytes:
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, total, f.cfg.MaxBytes)
	}
	p.said.Total, p.resumed = total, true
	return nil
}

// startAgain makes the next attempt ask for the whole file.
func startAgain(p *partial, why error) error {
	if err := p.restart(said{}); err != nil {
		return err
	}
	return &transient{err: why}
}

// receive copies the body behind what there is.
func (f *Fetcher) receive(ctx context.Context, resp *http.Response, p *partial, m *meter, idle *time.Timer) error {
	buf := make([]byte, 128<<10)
	for {
		idle.Reset(f.cfg.Idle)
		n, err := resp.Body.Read(buf)
		idle.Stop() // a slow disk is not the server's silence
		if p.size+int64(n) > f.cfg.MaxBytes {
			return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, f.cfg.MaxBytes)
		}
		if _, err := p.Write(buf[:n]); err != nil {
			return err
		}
		m.update(p.size, p.said.Total, false)
		switch {
		case p.said.Total > 0 && p.size > p.said.Total:
			return startAgain(p, errors.New("the server sends more than it announced"))
		case err == io.EOF && p.said.Total > 0 && p.size < p.said.Total:
			return &transient{err: io.ErrUnexpectedEOF} // it sent less than was asked for
		case err == io.EOF:
			return nil
		case err != nil:
			return f.interrupted(ctx, err)
		}
	}
}

// interrupted sorts the errors of the network: those that come from us or from
// a certificate stay what they are.
func (f *Fetcher) interrupted(ctx context.Context, err error) error {
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(context.Cause(ctx), errIdle):
		return &transient{err: fmt.Errorf("%w for %s", errIdle, f.cfg.Idle)}
	case errors.Is(err, ErrNotAllowed), errors.Is(err, errRedirects), errors.As(err, &cert):
		return scrub(err)
	}
	return &transient{err: scrub(err)}
}

// describe returns what an answer says of its file. Only what RFC 9110 calls
// strong may be a validator of ranges: no W/ tag, and no time so young that the
// file may have changed within the same second.
func describe(resp *http.Response) said {
	s := said{Total: max(resp.ContentLength, 0)}
	if tag := resp.Header.Get("ETag"); strings.HasPrefix(tag, `"`) {
		s.ETag = tag
	}
	modified, err := http.ParseTime(resp.Header.Get("Last-Modified"))
	if date, derr := http.ParseTime(resp.Header.Get("Date")); err == nil && derr == nil && date.Sub(modified) >= time.Second {
		s.Modified = resp.Header.Get("Last-Modified")
	}
	return s
}

// retryAfter is what the server asks us to wait: seconds, or a date.
func retryAfter(resp *http.Response) time.Duration {
	text := resp.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 1e6)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
