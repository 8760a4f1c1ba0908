package alert

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// One URL of every service, with a secret wherever it has one.
var urls = []struct{ url, name string }{
	{"slack://hook:S3CRETAAA-S3CRETBBB-S3CRETCCCCCCCCCCCCCCCCCC@webhook", "slack"},
	{"discord://token-s3cret@123456789012", "discord"},
	{"telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5s3cretAA@telegram?chats=@channel-s3cret", "telegram"},
	{"ntfy://user-s3cret:pass-s3cret@ntfy.example.org/topic-s3cret", "ntfy://ntfy.example.org"},
	{"ntfy://topic-s3cret", "ntfy"},
	{"pagerduty:///eb243592faa24ba2a5510afdf565c889", "pagerduty"},
	{"smtp://user-s3cret:pass-s3cret@mail.example.org:587/?from=a@example.org&to=s3cret@example.org", "smtp://mail.example.org:587"},
	{"generic://user-s3cret:pass-s3cret@example.org:8443/path-s3cret?@auth=s3cret-x&template=json", "generic://example.org:8443"},
	{"generic+https://example.org/path-s3cret", "generic://example.org"},
	{"opsgenie://api.opsgenie.com/eb2f5c91-s3cret", "opsgenie"},
	{"googlechat://chat.googleapis.com/v1/spaces/FOO/messages?key=bar-s3cret&token=baz-s3cret", "googlechat"},
	{"mattermost://mattermost.example.org/token-s3cret", "mattermost://mattermost.example.org"},
	{"rocketchat://rocket.example.org/token-s3cret/token-s3cretb", "rocketchat://rocket.example.org"},
	{"gotify://gotify.example.org/Aaa.bbb.ccc-s3cret", "gotify://gotify.example.org"},
	{"pushover://shoutrrr:token-s3cret@user-s3cret", "pushover"},
	{"teams://11111111-4444-4444-8444-cccccccccccc@22222222-4444-4444-8444-cccccccccccc/33333333012222222222333333333344/44444444-4444-4444-8444-cccccccccccc/V2ESyij_gAljSoUQHvZoZYzlpAoAXExyOl26dlf1xHEx05?host=s3cret.webhook.office.com", "teams"},
}

func TestEveryServiceIsTested(t *testing.T) {
	t.Parallel()
	for name := range services {
		if !slices.ContainsFunc(urls, func(u struct{ url, name string }) bool { return strings.HasPrefix(u.url, name) }) {
			t.Errorf("want a URL of %s", name)
		}
	}
}

func TestOnlySchemeAndHostAreShown(t *testing.T) {
	t.Parallel()
	for _, tc := range urls {
		u, err := url.Parse(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		if have := shown(u); have != tc.name {
			t.Errorf("want %s, have %s", tc.name, have)
		}
		// What the library may say: the URL, what it makes of it, its parts.
		s := secretsOf(u)
		for _, text := range []string{
			"sending via " + tc.url,
			`Post "https://hooks.slack.com/services/S3CRETAAA/S3CRETBBB/S3CRETCCCCCCCCCCCCCCCCCC": EOF`,
			`Post "https://api.telegram.org/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5s3cretAA/sendMessage": EOF`,
			"bad: " + strings.ToUpper(u.Path) + " " + url.QueryEscape(u.RawQuery) + " " + u.User.String() + " " + u.Fragment,
			"user " + u.User.Username() + " refused, path " + u.EscapedPath(),
		} {
			if have := s.hide(text); strings.Contains(strings.ToLower(have), "s3cret") && !strings.HasPrefix(text, "Post") {
				t.Errorf("%s: want nothing secret, have %s", tc.name, have)
			}
		}
	}
}

// TestNoServiceSaysSentOfWhatFailed has every service fail for real, below its
// own client, in every way: it must say so, and show no secret.
func TestNoServiceSaysSentOfWhatFailed(t *testing.T) {
	tame()
	usual := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport, tamed.base = usual, usual })
	for name, base := range map[string]http.RoundTripper{
		"unreachable": failing(func(r *http.Request) (*http.Response, error) {
			return nil, errors.New("no way to " + r.URL.String() + " with " + r.Header.Get("Authorization"))
		}),
		"429":           status(http.StatusTooManyRequests, ""),
		"500 with HTML": status(http.StatusInternalServerError, "<html>"),
		"401 with JSON": status(http.StatusUnauthorized, `{"ok":false,"message":"bad"}`),
	} {
		http.DefaultTransport, tamed.base = base, base
		for _, tc := range urls {
			if strings.HasPrefix(tc.url, "smtp") || strings.HasPrefix(tc.url, "ntfy") || strings.HasPrefix(tc.url, "gotify") || strings.HasPrefix(tc.url, "mattermost") {
				continue // they bring a transport of their own
			}
			if strings.HasPrefix(tc.url, "discord") && name != "401 with JSON" {
				continue // it tries for minutes
			}
			c, err := newChannel(tc.url)
			if err != nil {
				noSecret(t, err.Error())
				t.Errorf("%s: want it understood, have %v", tc.name, err)
				continue
			}
			err = c.send(t.Context(), message{firing("x"), "node0"})
			if err == nil {
				t.Errorf("%s, %s: want it to fail", tc.name, name)
				continue
			}
			noSecret(t, err.Error())
			for _, word := range []string{"eb243592", "33333333", "AAHdqTcvCH1vGWJ"} {
				if strings.Contains(err.Error(), word) {
					t.Errorf("%s: want %s hidden, have %v", tc.name, word, err)
				}
			}
		}
	}
}

// TestServicesWithATransportOfTheirOwn fail as well, against a real server.
func TestServicesWithATransportOfTheirOwn(t *testing.T) {
	for _, code := range []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusUnauthorized} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, r.URL.String(), code) }))
		host := strings.TrimPrefix(srv.URL, "http://")
		for _, raw := range []string{
			"ntfy://user:pass-s3cret@" + host + "/topic-s3cret?scheme=http",
			"gotify://" + host + "/Aaaa.bbb.s3cret?disabletls=yes",
			"mattermost://" + host + "/token-s3cret?disabletls=yes",
		} {
			c, err := newChannel(raw)
			if err != nil {
				t.Errorf("%s: want it understood, have %v", raw, err)
				continue
			}
			if err = c.send(t.Context(), message{firing("x"), "node0"}); err == nil {
				t.Errorf("%s: want a %d to be a failure", raw, code)
				continue
			}
			noSecret(t, err.Error())
		}
		srv.CloseClientConnections()
		srv.Close()
	}
}

type failing func(*http.Request) (*http.Response, error)

func (f failing) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func status(code int, text string) http.RoundTripper {
	return failing(func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: code, Status: http.StatusText(code), Header: http.Header{}, Request: r,
			Body: io.NopCloser(strings.NewReader(text + r.URL.String())),
		}, nil
	})
}

func TestBadURLs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, url, want string }{
		{"nothing", "", "not a URL"},
		{"no scheme", "example.org/s3cret-path", "not a URL"},
		{"garbage", "generic://s3cret-host:port\x7f/", "not a URL"},
		{"unknown", "carrier-pigeon://s3cret-roof", `unknown service "carrier-pigeon"`},
		{"a plain webhook", "https://example.org/s3cret", "a webhook is written generic+https://HOST/PATH"},
		{"one that tells nobody", "logger://", "unknown service"},
		{"another scheme where none may be", "ntfy+https://s3cret-host/x", "ntfy takes no URL of another scheme"},
		{"a token that is none", "slack://s3cret-token@webhook", "slack: "},
		{"an option that is none", "generic://example.org/s3cret-path?disabletls=s3cret-x", "generic: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := CheckURL(tc.url)
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("want one line that begins with %q, have %v", tc.want, err)
			}
			noSecret(t, err.Error())
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "x": 0, "-1": 0, "0": 0, "7": 7 * time.Second, "99999999999": waitMax, "999999999999999999999": 0,
		"Fri, 02 Jan 2026 12:00:30 GMT": 30 * time.Second, "Fri, 02 Jan 2026 11:00:00 GMT": 0, "Fri, 02 Jan 2099 11:00:00 GMT": waitMax,
	} {
		if have := retryAfter(header, now); have != want {
			t.Errorf("%q: want %s, have %s", header, want, have)
		}
	}
}

func FuzzSecretsStayHidden(f *testing.F) {
	f.Add("user", "pass-word", "path/to", "a=b&c=long-value")
	f.Add("user", "pass", "path", "no UTF-8: \x9e")
	f.Fuzz(func(t *testing.T, user, password, path, query string) {
		u := &url.URL{Scheme: "slack", User: url.UserPassword(user, password), Host: "host.example", Path: path, RawQuery: query}
		s := secretsOf(u)
		for _, secret := range []string{user, password, path} {
			if len(secret) < shortest || strings.ContainsAny(secret, "*\x00") || strings.TrimSpace(secret) != secret {
				continue
			}
			have := s.hide("error: " + secret + " refused by " + u.String())
			if len(strings.Fields(secret)) == 1 && strings.Contains(have, secret) && !strings.Contains("error: refused by slack://host.example***", secret) {
				t.Errorf("want %q hidden, have %q", secret, have)
			}
		}
	})
}
