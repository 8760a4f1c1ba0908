package reaper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func shell(script string) Command {
	return Command{Path: "/bin/sh", Args: []string{"sh", "-c", script, os.Args[0]}, Env: []string{"PATH=" + os.Getenv("PATH")}}
}

func TestOutput(t *testing.T) {
	r := newReaper(t)
	for _, tc := range []struct {
		script string
		limit  int64
		want   string
		exit   Exit
	}{
		{"echo out; echo err >&2; exit 3", 100, "out\nerr\n", Exit{Code: 3}},
		{"exit 0", 100, "", Exit{}},
		{"echo 0123456789", 4, "0123", Exit{}},
		{"kill -9 $$", 4, "", Exit{Signal: syscall.SIGKILL}},
		{"head -c 300000 /dev/zero; exit 7", 8, strings.Repeat("\x00", 8), Exit{Code: 7}}, // more than a pipe holds
		{"cat", 100, "", Exit{}},                                                          // its stdin is empty
	} {
		have, exit, err := r.Output(context.Background(), shell(tc.script), tc.limit)
		if err != nil || exit != tc.exit || string(have) != tc.want {
			t.Errorf("%s: want %q, %v, have %q, %v, %v", tc.script, tc.want, tc.exit, have, exit, err)
		}
	}
	if _, _, err := r.Output(context.Background(), Command{Path: "/absent", Args: []string{"x"}}, 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("want ErrNotFound, have %v", err)
	}
}

// Its last words are the reason why it is worth to run a helper with a limit.
func TestOutputOfTheLate(t *testing.T) {
	r := newReaper(t)
	why := errors.New("too late")
	ctx, cancel := context.WithTimeoutCause(context.Background(), 300*time.Millisecond, why)
	defer cancel()
	have, exit, err := r.Output(ctx, shell("echo last words; sleep 1000 & wait"), 100)
	if !errors.Is(err, why) || exit.Signal != syscall.SIGKILL || string(have) != "last words\n" {
		t.Errorf("want its last words, have %q, %v, %v", have, exit, err)
	}
}

// A daemon that a helper leaves behind holds its pipe open.
func TestOutputOfTheFaithless(t *testing.T) {
	r := newReaper(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	began := time.Now()
	script := fmt.Sprintf(`echo done; %s=daemonize "$0"; exit 0`, role)
	have, exit, err := r.Output(ctx, shell(script), 100)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it waited %s for a daemon", took)
	}
	if err != nil || exit != (Exit{}) || !bytes.HasPrefix(have, []byte("done\n")) {
		t.Errorf("want done, have %q, %v, %v", have, exit, err)
	}
	p, _ := sh(t, r, "exit 0")
	r.Stop(p, time.Now())
}
