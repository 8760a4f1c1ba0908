package alert

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// Errors of a channel. The library's own are never passed on as they are: they
// quote URLs.
var (
	errSlow  = errors.New("no answer")
	errStuck = errors.New("earlier messages have not been answered yet")
)

// stuckMax is how many sends may be unanswered at a time. Most services have a
// timeout; a mail server that accepts the connection and says nothing has the
// library wait for ever, and it cannot be told to stop.
const stuckMax = 3

// channel is one URL.
type channel struct {
	name    string // what may be seen of the URL
	scheme  string
	url     *url.URL
	secrets secrets
	queue   chan Alert
	flying  chan struct{} // a place for each send that has not come back
	service types.Service
}

// CheckURL reports what is wrong with a channel's URL, without showing it.
func CheckURL(raw string) error {
	_, err := newChannel(raw)
	return err
}

func newChannel(raw string) (*channel, error) {
	tame()
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" {
		return nil, errors.New("not a URL such as generic://host/path")
	}
	scheme, _, _ := strings.Cut(strings.ToLower(u.Scheme), "+")
	c := &channel{name: shown(u), scheme: scheme, url: u, secrets: secretsOf(u), queue: make(chan Alert, queueMax), flying: make(chan struct{}, stuckMax)}
	return c, c.locate()
}

// locate makes the library's service.
func (c *channel) locate() error {
	maker, ok := services[c.scheme]
	switch {
	case ok:
	case c.scheme == "http", c.scheme == "https":
		return fmt.Errorf("a webhook is written generic+%s://HOST/PATH", c.scheme)
	default:
		return fmt.Errorf("unknown service %q: want one of %s", c.scheme, strings.Join(slices.Sorted(maps.Keys(services)), ", "))
	}
	service := maker()
	u := *c.url
	if strings.Contains(u.Scheme, "+") {
		custom, ok := service.(types.CustomURLService)
		if !ok {
			return fmt.Errorf("%s takes no URL of another scheme", c.scheme)
		}
		proper, err := custom.GetConfigURLFromCustom(&u)
		if err != nil {
			return fmt.Errorf("%s: %s", c.scheme, c.secrets.hide(err.Error()))
		}
		u = *proper
	}
	if err := service.Initialize(&u, nil); err != nil { // nil: its log would show the URL
		return fmt.Errorf("%s: %s", c.scheme, c.secrets.hide(err.Error()))
	}
	c.service = service
	return nil
}

// send sends one message and returns when it is answered, or when ctx is done.
// Only the channel's own goroutine calls it.
func (c *channel) send(ctx context.Context, m message) error {
	select {
	case c.flying <- struct{}{}:
	default:
		return errStuck
	}
	service, params := c.service, m.params(c.scheme)
	answer := make(chan error, 1)
	go func() { // ends when the library does: see stuckMax
		defer func() { <-c.flying }()
		err := service.Send(m.text(), &params)
		if err == nil && c.scheme == "telegram" {
			err = tamed.outcome("https://" + telegramHost + "/bot" + c.url.User.String() + "/sendMessage")
		}
		answer <- err
	}()
	select {
	case err := <-answer:
		if err != nil {
			return errors.New(c.secrets.hide(err.Error()))
		}
		return nil
	case <-ctx.Done():
		_ = c.locate() // the old one may still be at work, and is not made for two
		return errSlow
	}
}

// message is an alert on its way.
type message struct {
	Alert
	source string
}

func (m message) title() string {
	return fmt.Sprintf("[%s] %s: %s", strings.ToUpper(m.State), m.Name, m.source)
}

func (m message) text() string {
	text := m.title() + "\n" + m.Summary + "\n" + string(m.Severity) + ", since " + m.Since.Format(time.RFC3339)
	if m.Resolved != nil {
		text += ", resolved " + m.Resolved.Format(time.RFC3339)
	}
	return text
}

// params are what beside the text a service understands. Most refuse a message
// with one they don't know.
func (m message) params(scheme string) types.Params {
	switch scheme {
	case "pagerduty":
		action := "trigger"
		if m.Resolved != nil {
			action = "resolve"
		}
		return types.Params{"action": action, "dedup_key": m.source + "/" + m.Name, "severity": string(m.Severity), "source": m.source}
	case "generic": // with template=json these are fields of the object
		return types.Params{
			"title": m.title(), "alert": m.Name, "severity": string(m.Severity), "state": m.State,
			"summary": m.Summary, "source": m.source, "since": m.Since.Format(time.RFC3339),
		}
	case "gotify", "ntfy", "pushover", "smtp":
		return types.Params{"title": m.title()}
	}
	return types.Params{}
}
