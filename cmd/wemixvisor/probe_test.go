package main

import (
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestProbeSaysWhatIsWrong(t *testing.T) {
	t.Setenv("DAEMON_HOME", t.TempDir())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			http.Error(w, "[-]sync head 7 is 2m0s old\n[-]network 0 of at least 1 peers", http.StatusServiceUnavailable)
		}
	})}
	go srv.Serve(ln) // ends with Close
	t.Cleanup(func() { srv.Close() })
	there := "--probe-address=" + ln.Addr().String()
	for _, tc := range []struct {
		name string
		args []string
		code int
		says string // in the error; empty: the line went to stdout
	}{
		{"live", []string{there, "probe", "live"}, 0, ""},
		{"not ready", []string{there, "probe", "ready"}, 1, ""},
		{"no word", []string{there, "probe"}, 2, "live, ready, startup"},
		{"unknown word", []string{there, "probe", "alive"}, 2, `"alive" is none of live, ready, startup`},
		{"two words", []string{there, "probe", "live", "ready"}, 2, "2 words"},
		{"nobody there", []string{"--probe-address=127.0.0.1:1", "probe", "live"}, 1, "is wemixvisor running"},
		{"off", []string{"--probe-address=off", "probe", "live"}, 2, "off"},
		{"an address that is none", []string{"--probe-address=:port:", "probe", "live"}, 1, "port"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := dispatch(tc.args)
			code := 0
			if q, ok := err.(quiet); ok {
				code = int(q)
			} else if err != nil {
				code = exitCode(err)
			}
			if code != tc.code || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Fatalf("want exit %d and %q, have %d: %v", tc.code, tc.says, code, err)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("want one line, have %v", err)
			}
		})
	}
}
