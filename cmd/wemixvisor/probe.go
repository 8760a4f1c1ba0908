package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// probeTimeout is how long an answer may take: nothing on that path waits.
const probeTimeout = 5 * time.Second

// ask is for HEALTHCHECK and exec probes in images without a shell.
func ask(ctx context.Context, s *settings, args []string) error {
	args, err := flags(flag.NewFlagSet("probe", flag.ContinueOnError), args)
	if err != nil {
		return err
	}
	path := map[string]string{"live": "/livez", "ready": "/readyz", "startup": "/startupz"}
	switch {
	case len(args) != 1:
		return usageError{fmt.Errorf("probe takes one of live, ready, startup; have %d words", len(args))}
	case path[args[0]] == "":
		return usageError{fmt.Errorf("probe: %q is none of live, ready, startup", args[0])}
	case s.probeAddress == "off":
		return usageError{fmt.Errorf("probe: probe-address is off, so nobody can be asked; set it to :9090, for example")}
	}
	code, text, err := question(ctx, s.probeAddress, path[args[0]])
	if err != nil {
		return fmt.Errorf("%s: no answer: %w; is wemixvisor running, and is probe-address the same here?", args[0], err)
	}
	fmt.Println(args[0] + ": " + text)
	if code != http.StatusOK {
		return quiet(exitFailed)
	}
	return nil
}

// question asks the probe listener on address, which is beside us, and returns
// the answer's code and its text on one line.
func question(ctx context.Context, address, path string) (code int, text string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+local(address)+path, nil)
	if err != nil {
		return 0, "", fmt.Errorf("probe-address %q: %w", address, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, strings.ReplaceAll(strings.TrimSpace(string(body)), "\n", "; "), nil
}

// local is where a listener on address is reached from beside it.
func local(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
