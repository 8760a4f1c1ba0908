package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/cmd/internal/api"
)

// itself has the test binary be the program.
const itself = "WEMIXVISOR_TEST_ITSELF"

func TestMain(m *testing.M) {
	if os.Getenv(itself) != "" {
		os.Unsetenv(itself)
		os.Exit(program(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// house is a home with a shell script for a node, and the settings to go with it.
type house struct {
	t      *testing.T
	home   string
	env    []string
	probes string
	log    string                // of the supervisor that run started last
	signal func(os.Signal) error // to it
}

func newHouse(t *testing.T, script string, env ...string) *house {
	t.Helper()
	h := &house{t: t, home: t.TempDir()}
	bin := filepath.Join(h.home, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "node"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.probes = ln.Addr().String()
	ln.Close()
	h.env = append([]string{
		itself + "=1", "PATH=" + bin + ":" + os.Getenv("PATH"), "DAEMON_HOME=" + h.home, "DAEMON_NAME=node",
		"DAEMON_PROBE_ADDRESS=" + h.probes, "DAEMON_RPC_ADDRESS=" + h.probes, "DAEMON_METRICS_INTERVAL=1s",
	}, env...)
	return h
}

// command runs one command to its end.
func (h *house) command(args ...string) (code int, out string) {
	h.t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = h.env
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		h.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(b)
}

// run starts a supervisor. wait returns its exit code and what it wrote.
func (h *house) run() (terminate func(), wait func() (code int, out string)) {
	h.t.Helper()
	out, err := os.Create(filepath.Join(h.t.TempDir(), "log"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer out.Close()
	h.log = out.Name()
	cmd := exec.Command(os.Args[0], "run")
	cmd.Env, cmd.Stdout, cmd.Stderr = h.env, out, out
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // joined by the cleanup
	h.t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	h.signal = cmd.Process.Signal
	return func() { _ = cmd.Process.Signal(syscall.SIGTERM) }, func() (int, string) {
		h.t.Helper()
		select {
		case <-ended:
		case <-time.After(60 * time.Second):
			h.t.Fatal("want the supervisor to end")
		}
		b, _ := os.ReadFile(out.Name())
		return cmd.ProcessState.ExitCode(), string(b)
	}
}

func (h *house) status() (api.Status, error) {
	var st api.Status
	err := api.NewClient(filepath.Join(h.home, "wemixvisor", "wemixvisor.sock")).Get(context.Background(), "status", &st)
	return st, err
}

// until polls with a deadline.
func (h *house) until(what string, ok func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(50 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("want %s", what)
		}
	}
}
