package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/wemix/wemixvisor/probe/alert"
)

// alertSettings say what people are told, and where.
type alertSettings struct {
	alertURLs       []string
	alertFor        time.Duration
	alertHeadAge    time.Duration
	alertMaxLag     int
	alertMinPeers   int
	alertMinFree    float64
	alertFullWithin time.Duration
	alertRemember   time.Duration
	alertUpgrade    int
}

func (s *alertSettings) define(r *reader) {
	r.add("alert-urls", "", "where alerts go: URLs of shoutrrr's services discord, generic, googlechat, gotify, mattermost, ntfy, opsgenie, pagerduty, pushover, rocketchat, slack, smtp, teams, telegram, or a `file` with one a line; secret: prefer variable or file", func(text string) (err error) {
		s.alertURLs, err = parseURLs(text)
		return err
	})
	r.duration(&s.alertFor, "alert-for", time.Minute, 0, "how long the node must be down, behind or short of peers, or a disk filling, before it is an alert")
	r.duration(&s.alertHeadAge, "alert-head-age", 5*time.Minute, 0, "alert when no new block came for longer; 0 does not look, nor does a ready-max-head-age of 0")
	r.count(&s.alertMaxLag, "alert-max-lag", 100, "alert when further behind, in blocks; 0 does not look")
	r.count(&s.alertMinPeers, "alert-min-peers", 0, "alert with fewer peers; 0 does not look")
	r.percent(&s.alertMinFree, "alert-min-free", 10, "alert when less of a disk's bytes or inodes is free, or less than 20 GiB if that is less; 0% does not look")
	r.duration(&s.alertFullWithin, "alert-full-within", 6*time.Hour, 0, "alert when a disk will be full within this time at its present rate; 0 does not look")
	r.count(&s.alertUpgrade, "alert-upgrade-blocks", 1000, "alert when an upgrade is not prepared so many blocks before its height; 0 does not look")
	r.duration(&s.alertRemember, "alert-remember", 15*time.Minute, 0, "how long an alert stands of what happens and does not last: an OOM kill, a KILL, an unclean shutdown; 0: none is made of it")
}

// next is where in a list of URLs the next one begins: a URL may hold commas.
var next = regexp.MustCompile(`[,\s]+[a-zA-Z][a-zA-Z0-9+.-]*:`)

// parseURLs reads URLs parted by commas or white space, or the file that holds
// them. Nothing of them is shown in an error.
func parseURLs(text string) ([]string, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	var urls []string
	if strings.Contains(text, ":/") {
		text = next.ReplaceAllStringFunc(text, func(s string) string { return "\n" + strings.TrimLeft(s, ", \t\r\n") })
	} else {
		var err error
		if text, err = readURLs(text); err != nil {
			var at *fs.PathError
			if errors.As(err, &at) {
				err = at.Err // its path is what was written here, and that may be a secret
			}
			return nil, fmt.Errorf("neither a URL nor a file that can be read: %w", err)
		}
	}
	for line := range strings.Lines(text) {
		line = strings.Trim(line, ", \t\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := alert.CheckURL(line); err != nil {
			return nil, fmt.Errorf("URL %d: %w", len(urls)+1, err)
		}
		urls = append(urls, line)
	}
	return urls, nil
}

func readURLs(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > 64<<10 { // nothing to wait for, nothing without end
		return "", errors.New("no regular file of at most 64 KiB")
	}
	b, err := os.ReadFile(file)
	return string(b), err
}
