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
	if len(args) != 1 || path[args[0]] == "" {
		return usageError{fmt.Errorf("probe: one of live, ready, startup")}
	}
	if s.probeAddress == "off" {
		return usageError{fmt.Errorf("probe: probe-address is off")}
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+local(s.probeAddress)+path[args[0]], nil)
	if err != nil {
		return usageError{fmt.Errorf("probe-address %q: %w", s.probeAddress, err)}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s: no answer: %w; is wemixvisor running, and is probe-address the same here?", args[0], err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	text := strings.ReplaceAll(strings.TrimSpace(string(body)), "\n", "; ")
	if resp.StatusCode != http.StatusOK {
		fmt.Println(args[0] + ": " + text)
		return quiet(exitFailed)
	}
	fmt.Println(args[0] + ": " + text)
	return nil
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
