package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/wemix/wemixvisor/probe/alert"
)

// AlertTest is the body of POST /api/v1/alerts/test.
type AlertTest struct {
	URL string `json:"url,omitempty"` // one channel; none: all that are set
}

// ErrNoChannel says that alerts go nowhere.
var ErrNoChannel = errors.New("no alert channel: set alert-urls (DAEMON_ALERT_URLS), or name a URL")

// testAlert answers what became of a test alert on each channel: 200 says that
// all were tried.
func (s *Server) testAlert(r *http.Request, t AlertTest) ([]alert.Trial, error) {
	if t.URL != "" {
		if err := alert.CheckURL(t.URL); err != nil {
			return nil, fault{http.StatusUnprocessableEntity, "bad_url", fmt.Errorf("url: %w", err)}
		}
	}
	select {
	case s.testing <- struct{}{}: // a test is a message to people: one at a time
		defer func() { <-s.testing }()
	default:
		return nil, fault{http.StatusTooManyRequests, "testing", errors.New("another test alert is on its way")}
	}
	return s.cfg.TestAlert(r.Context(), t.URL)
}
