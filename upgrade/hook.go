package upgrade

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/backup"
	"github.com/wemix/wemixvisor/reaper"
)

// Exit codes of a pre-upgrade hook, which are the Cosmos SDK's. Whatever is not
// here aborts: an unknown code is no success.
const (
	hookDone  = 0
	hookNone  = 1  // there is no such command
	hookAbort = 30 // no more tries
	hookRetry = 31
)

// ErrHook says that a pre-upgrade hook forbids the upgrade.
var ErrHook = errors.New("pre-upgrade hook aborts the upgrade")

// hookLine bounds one line of a hook's output in the log.
const hookLine = 1000

// hook is one program that runs before the switch, with the node down.
type hook struct {
	file string
	args []string // before NAME and HEIGHT
}

// hooks returns what is to be run for a plan, in order. What is configured and
// missing is an error, here and not while the node is down.
func (u *Upgrader) hooks(r *Record) ([]hook, error) {
	var all []hook
	if custom := u.cfg.CustomPreupgrade; custom != "" {
		if !filepath.IsAbs(custom) {
			custom = filepath.Join(u.cfg.Home.Dir(), custom)
		}
		if _, err := reaper.Find(custom, ""); err != nil {
			return nil, fmt.Errorf("custom-preupgrade %w", err)
		}
		all = append(all, hook{file: custom})
	}
	own := filepath.Join(u.cfg.Home.Dir(), r.folder(), "pre-upgrade")
	switch _, err := reaper.Find(own, ""); {
	case err == nil:
		all = append(all, hook{file: own})
	case !errors.Is(err, reaper.ErrNotFound):
		return nil, fmt.Errorf("pre-upgrade %w", err)
	}
	if u.cfg.PreupgradeSubcommand {
		all = append(all, hook{file: u.binary(r), args: []string{"pre-upgrade"}})
	}
	return all, nil
}

// listed names hooks for people.
func listed(hooks []hook) string {
	if len(hooks) == 0 {
		return "none"
	}
	lines := make([]string, len(hooks))
	for i, h := range hooks {
		lines[i] = strings.Join(append([]string{h.file}, h.args...), " ")
	}
	return strings.Join(lines, ", then ")
}

// runHooks runs them one after the other, each as often as it wants to be
// retried and may.
func (u *Upgrader) runHooks(ctx context.Context, r *Record, hooks []hook) error {
	for _, h := range hooks {
		for try := 0; ; try++ {
			exit, err := u.runHook(ctx, r, h)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return fmt.Errorf("%w: %w", ErrHook, err)
			}
			name := filepath.Base(h.file)
			if exit.Signal == 0 && (exit.Code == hookDone || exit.Code == hookNone) {
				if exit.Code == hookNone {
					level.Info(u.logger).Log("msg", "pre-upgrade hook has nothing to do", "hook", h.file, "plan", r.Name)
				}
				break
			}
			if exit.Signal == 0 && exit.Code == hookRetry && try < u.cfg.PreupgradeMaxRetries {
				level.Warn(u.logger).Log("msg", "pre-upgrade hook wants to be run again", "hook", h.file, "plan", r.Name, "in", u.cfg.HookDelay, "tries_left", u.cfg.PreupgradeMaxRetries-try)
				if err := backup.Sleep(ctx, u.cfg.HookDelay); err != nil {
					return err
				}
				continue
			}
			why := exit.String()
			if exit.Signal == 0 && exit.Code == hookRetry {
				why += fmt.Sprintf(" after %d retries", try)
			}
			return fmt.Errorf("%w: %s ended with %s", ErrHook, name, why)
		}
	}
	return nil
}

// runHook runs one to its end, or to the end of its time. Its whole process
// group ends with it: nothing of it may touch the data once the node runs.
func (u *Upgrader) runHook(ctx context.Context, r *Record, h hook) (reaper.Exit, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return reaper.Exit{}, err
	}
	defer read.Close()
	height := strconv.FormatUint(r.Height, 10)
	env := append(u.hookEnv(), "UPGRADE_NAME="+r.Name, "UPGRADE_HEIGHT="+height, "UPGRADE_INFO="+r.Info.String())
	p, err := u.cfg.Reaper.Start(ctx, reaper.Command{
		Path: h.file, Args: append(append([]string{h.file}, h.args...), r.Name, height),
		Env: env, Dir: u.cfg.Home.Root, Stdout: write, Stderr: write, Bound: true,
	})
	write.Close()
	if err != nil {
		return reaper.Exit{}, err
	}
	logger := log.With(u.logger, "hook", filepath.Base(h.file), "plan", r.Name)
	level.Info(logger).Log("msg", "pre-upgrade hook runs", "pid", p.Pid)
	said := make(chan struct{})
	go func() { // ends with the pipe
		defer close(said)
		logLines(logger, read)
	}()
	timer := time.NewTimer(u.hookTimeout(r))
	defer timer.Stop()
	select {
	case <-p.Done():
	case <-timer.C:
		err = fmt.Errorf("%s: still running after %s; killed", filepath.Base(h.file), u.hookTimeout(r))
		_ = p.Signal(syscall.SIGTERM)
		select {
		case <-p.Done():
		case <-time.After(u.cfg.HookGrace):
		}
	case <-ctx.Done():
		_ = p.Signal(syscall.SIGTERM)
		select {
		case <-p.Done():
		case <-time.After(u.cfg.HookGrace):
		}
	}
	u.cfg.Reaper.Stop(p, time.Now()) // what it left behind, and itself if it is still there
	select {
	case <-said:
	case <-time.After(time.Second):
	}
	return p.Exit(), err
}

// hookEnv is the node's environment and what cosmovisor's hooks know.
func (u *Upgrader) hookEnv() []string {
	set := map[string]string{"DAEMON_HOME": u.cfg.Home.Root, "DAEMON_NAME": u.cfg.Home.Name, "DAEMON_DATA_DIR": u.cfg.Data}
	var env []string
	for _, pair := range u.cfg.Env {
		name, _, _ := strings.Cut(pair, "=")
		if _, ours := set[name]; !ours && !strings.HasPrefix(name, "UPGRADE_") {
			env = append(env, pair)
		}
	}
	for _, name := range []string{"DAEMON_HOME", "DAEMON_NAME", "DAEMON_DATA_DIR"} {
		env = append(env, name+"="+set[name])
	}
	return env
}

// logLines logs what a hook says, line by line, long ones cut.
func logLines(logger log.Logger, r io.Reader) {
	lines := bufio.NewReaderSize(r, hookLine)
	for {
		line, more, err := lines.ReadLine()
		if err != nil {
			return
		}
		level.Info(logger).Log("msg", "hook says", "line", strings.ToValidUTF8(strings.TrimRight(string(line), "\r"), "?"))
		for more && err == nil {
			_, more, err = lines.ReadLine()
		}
	}
}
