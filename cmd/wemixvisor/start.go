package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/upgrade"
)

// detached marks a supervisor that start launched. The node never sees it.
const detached = "WEMIXVISOR_DETACHED"

// start asks a running supervisor to start the node, or launches one.
func start(ctx context.Context, s *settings, args []string) error {
	args = passed(args)
	res, err := api.NewClient(s.controlSocket).Act(ctx, "node/start", api.Action{Args: args})
	switch {
	case errors.Is(err, api.ErrNotRunning):
		return launch(ctx, s, args)
	case err != nil:
		return err
	}
	fmt.Printf("node started, pid %d", res.PID)
	if len(args) > 0 {
		fmt.Printf("; it keeps these arguments " + lasting)
	}
	fmt.Println()
	return nil
}

// launch runs a supervisor in the background and returns when its node runs.
func launch(ctx context.Context, s *settings, args []string) error {
	home := upgrade.Home{Root: s.home, Name: s.name}
	image, err := bundled(s, nil)
	if err != nil {
		return err
	}
	if err := home.Check(image); err != nil {
		return err
	}
	if err := os.MkdirAll(home.Dir(), 0o755); err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	file := filepath.Join(home.Dir(), "wemixvisor.log")
	log, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	defer log.Close()
	size, _ := log.Seek(0, 2)
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	defer null.Close()
	p, err := os.StartProcess(self, slices.Concat([]string{self}, ownFlags(), []string{"run", "--"}, args), &os.ProcAttr{
		Env:   append(os.Environ(), detached+"=1"),
		Files: []*os.File{null, log, log},
		Sys:   &syscall.SysProcAttr{Setsid: true}, // a closed terminal must not end it
	})
	if err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	ended := make(chan struct{})
	go func() { // ends with the supervisor, or with us
		_, _ = p.Wait()
		close(ended)
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			return fmt.Errorf("node not started: %s (see %s)", lastLine(log, size), file)
		case <-tick.C:
		}
		var st api.Status
		if api.NewClient(s.controlSocket).Get(ctx, "status", &st) == nil && st.State == string(supervisor.Running) {
			fmt.Printf("node started, pid %d; output in %s\n", st.PID, file)
			return nil
		}
	}
}

// ownFlags are the flags before the command, as they were given.
func ownFlags() []string {
	_, rest, err := read(os.Args[1:], true, nil)
	if err != nil {
		return nil // dispatch has read them before
	}
	return os.Args[1 : len(os.Args)-len(rest)]
}

// lastLine returns the last line written to log since size.
func lastLine(log *os.File, size int64) string {
	b := make([]byte, 64<<10)
	n, _ := log.ReadAt(b, size)
	lines := bytes.Split(bytes.TrimSpace(b[:n]), []byte("\n"))
	return strings.TrimPrefix(string(lines[len(lines)-1]), "wemixvisor: ")
}
