package fetch

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestLocate(t *testing.T) {
	t.Parallel()
	a, b := "sha256:"+strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64)
	for _, tc := range []struct {
		name string
		src  Source
		url  string
		sums int
		says string
	}{
		{"with a checksum", Source{"https://h/x", a}, "https://h/x", 1, ""},
		{"checksum in the URL", Source{"https://h/y?a=b&checksum=" + a, ""}, "https://h/y?a=b", 1, ""},
		{"twice the same", Source{"https://h/y?checksum=" + a, strings.ToUpper(a)}, "https://h/y", 1, ""},
		{"two that differ", Source{"https://h/y?checksum=" + a, b}, "", 0, "two checksums"},
		{"an unknown scheme", Source{"ftp://h/x", ""}, "", 0, `"ftp"`},
		{"no scheme", Source{"h/x", ""}, "", 0, "scheme"},
		{"no host", Source{"https:///x", ""}, "", 0, "host"},
		{"no URL", Source{"https://me:topsecret@h:port/%zz", ""}, "", 0, "not a URL"},
		{"a checksum by reference", Source{"https://h/x?checksum=file:https://h/sums", ""}, "", 0, "sha256:HEX"},
		{"an empty checksum", Source{"https://h/x?checksum=", ""}, "", 0, "empty"},
		{"a spoiled checksum", Source{"https://h/x?checksum=%zz", ""}, "", 0, "checksum"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			have, err := locate(tc.src)
			if (err != nil) != (tc.says != "") {
				t.Fatalf("have %v", err)
			}
			if err == nil && (have.url.String() != tc.url || len(have.sums) != tc.sums) {
				t.Errorf("want %s with %d checksums, have %s with %v", tc.url, tc.sums, have.url, have.sums)
			}
			if err != nil && (!strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "topsecret")) {
				t.Errorf("want %q in %v", tc.says, err)
			}
		})
	}
}

func TestSourcePrintsNoSecrets(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]string{
		"https://me:topsecret@h/a%2fb/c?sig=topsecret#topsecret": "https://h/a%2fb/c?...",
		"https://topsecret@h:8443":                               "https://h:8443",
		"file:///tmp/a%20b":                                      "file:///tmp/a%20b",
		"https://me:topsecret@h:port/":                           "a URL that is none",
	} {
		s := Source{URL: from, Checksum: "sha256:00"}
		for _, have := range []string{s.String(), fmt.Sprint(s), fmt.Sprintf("%+v", s)} {
			if want != have {
				t.Errorf("want %q, have %q", want, have)
			}
		}
	}
}

func TestForeignErrorsAreScrubbed(t *testing.T) {
	t.Parallel()
	inner := errors.New(`proxy "http://me:topsecret@p:1/": Location "https://topsecret@h/x?sig=topsecret" is bad`)
	err := scrub(&url.Error{Op: "Get", URL: "https://me:topsecret@h", Err: inner})
	if want, have := `proxy "http://p:1/": Location "https://h/x?..." is bad`, err.Error(); want != have {
		t.Errorf("want %q, have %q", want, have)
	}
	if !errors.Is(err, inner) {
		t.Error("want the cause kept")
	}
}

func TestWhatMayBeAsked(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]bool{
		"https://example.org/x":       true,
		"file:///x":                   true,
		"http://localhost:1/x":        true,
		"http://127.8.8.8/x":          true,
		"http://[::1]:1/x":            true,
		"http://example.org/x":        false,
		"http://localhost.example/x":  false,
		"http://10.0.0.1/x":           false,
		"http://127.0.0.1.example/x":  false,
		"http://127.0.0.1@example/x":  false,
		"http://[::ffff:10.0.0.1]/x":  false,
		"http://[::ffff:127.0.0.1]/x": true,
	} {
		u, err := url.Parse(from)
		if err != nil {
			t.Fatal(err)
		}
		if have := New(Config{}).allowed(u); (have == nil) != want || have != nil && !errors.Is(have, ErrNotAllowed) {
			t.Errorf("%s: want %v, have %v", from, want, have)
		}
		if have := New(Config{AllowHTTP: true}).allowed(u); have != nil {
			t.Errorf("%s: want it allowed, have %v", from, have)
		}
	}
}

func TestRateOfProgress(t *testing.T) {
	t.Parallel()
	var have []Progress
	m := &meter{tell: func(p Progress) { have = append(have, p) }}
	m.update(1000, 5000, true) // what was here before
	m.update(1001, 5000, false)
	if len(have) != 1 || have[0] != (Progress{1000, 5000, 0}) {
		t.Fatalf("want one call without a rate, have %v", have)
	}
	m.at = m.at.Add(-time.Second)
	m.update(2000, 5000, false)
	if len(have) != 2 || have[1].Rate < 900 || have[1].Rate > 1000 {
		t.Fatalf("want 1000 bytes per second, have %v", have)
	}
	m.at = m.at.Add(-time.Second)
	m.update(2000, 5000, false)
	if len(have) != 3 || have[2].Rate < 600 || have[2].Rate > 700 {
		t.Fatalf("want it to fall slowly, have %v", have)
	}
}
