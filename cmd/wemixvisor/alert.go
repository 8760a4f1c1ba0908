package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/go-kit/log"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/upgrade/fetch"
)

// testAlert sends a test alert: through the running supervisor where there is
// one, since its settings and its network are what counts, else by itself.
func testAlert(ctx context.Context, s *settings, args []string) error {
	args, err := flags(flag.NewFlagSet("alert", flag.ContinueOnError), args)
	if err != nil {
		return err
	}
	if len(args) < 1 || len(args) > 2 || args[0] != "test" {
		return usageError{errors.New("alert: want alert test [URL]")}
	}
	ask := api.AlertTest{}
	if len(args) == 2 {
		ask.URL = args[1]
		if err := alert.CheckURL(ask.URL); err != nil {
			return usageError{fmt.Errorf("alert test: %w", err)}
		}
	}
	var trials []alert.Trial
	err = api.NewClient(s.controlSocket).Post(ctx, "alerts/test", ask, &trials)
	if errors.Is(err, api.ErrNotRunning) {
		trials, err = tryAlert(ctx, s, ask.URL)
	}
	if err != nil {
		return err
	}
	failed := false
	for _, t := range trials {
		if t.OK {
			fmt.Println(t.Channel + ": sent")
			continue
		}
		failed = true
		fmt.Println(t.Channel + ": not sent: " + t.Error)
	}
	if failed {
		return quiet(exitFailed)
	}
	return nil
}

// tryAlert sends a test alert to one URL, or to all that are set.
func tryAlert(ctx context.Context, s *settings, url string) ([]alert.Trial, error) {
	urls := s.alertURLs
	if url != "" {
		urls = []string{url}
	}
	if len(urls) == 0 {
		return nil, api.ErrNoChannel
	}
	n, err := newNotifier(s, urls, nil)
	if err != nil {
		return nil, err
	}
	return n.Test(ctx), nil
}

// newNotifier returns one of urls. Where there are any it brings the authorities
// along: an image from scratch has none.
func newNotifier(s *settings, urls []string, logger log.Logger) (*alert.Notifier, error) {
	if len(urls) > 0 {
		fetch.Roots()
	}
	n, err := alert.NewNotifier(alert.NotifierConfig{URLs: urls, Source: source(s), Logger: logger})
	if err != nil {
		return nil, usageError{fmt.Errorf("alert-urls: %w", err)}
	}
	return n, nil
}

// source is who an alert comes from.
func source(s *settings) string {
	name, err := os.Hostname()
	if err != nil {
		name = s.home
	}
	if s.network != "" {
		name += " (" + s.network + ")"
	}
	return name
}
