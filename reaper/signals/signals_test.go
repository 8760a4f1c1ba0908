package signals

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const role = "SIGNALS_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "late": // the signal finds us after we know that we are no init
		Default()
		_, _ = os.Stdout.WriteString("ready\n")
		select {}
	case "early": // and this one before
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		for len(C) == 0 {
			time.Sleep(time.Millisecond)
		}
		Default()
		select {}
	default:
		os.Exit(m.Run())
	}
}

func TestAllButWhatCannotBeCaught(t *testing.T) {
	without := []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGURG, syscall.SIGPROF, syscall.SIGCHLD, 32, 33, 34}
	for n := syscall.Signal(1); n <= 64; n++ {
		if want, have := !slices.Contains(without, n), slices.Contains(all(), os.Signal(n)); have != want {
			t.Errorf("%d: want %v, have %v", n, want, have)
		}
	}
}

func TestEachArrivesOnce(t *testing.T) {
	for _, s := range all() {
		_ = syscall.Kill(os.Getpid(), s.(syscall.Signal))
		select {
		case have := <-C:
			if have != s {
				t.Errorf("want %v, have %v", s, have)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%v does not arrive", s)
		}
	}
	if len(C) > 0 {
		t.Errorf("have %v too", <-C)
	}
}

// The usual effect comes back, and nothing that came before is lost.
func TestDefault(t *testing.T) {
	for _, as := range []string{"late", "early"} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), role+"="+as)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if as == "late" {
			var line strings.Builder
			for !strings.Contains(line.String(), "\n") {
				b := make([]byte, 1)
				if _, err := out.Read(b); err != nil {
					t.Fatal(err)
				}
				line.Write(b)
			}
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
		_ = cmd.Wait()
		if have := cmd.ProcessState.Sys().(syscall.WaitStatus); !have.Signaled() || have.Signal() != unix.SIGTERM {
			t.Errorf("%s: want a death by SIGTERM, have %v", as, cmd.ProcessState)
		}
	}
}
