package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stand is the supervisor in run mode over a real node that makes a block a
// second.
type stand struct {
	home   string
	cmd    *exec.Cmd
	said   *os.File
	probes string // host:port of the probe listener
	ws     string // URL of the node's JSON-RPC
	counts string // URL of the node's own metrics
}

// openStand starts it all and returns when the node is ready. The supervisor
// follows the node over ws or http.
func openStand(ctx context.Context, supervisor, node, transport string) (s *stand, err error) {
	s = &stand{}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, s.tail())
			s.close()
		}
	}()
	if s.home, err = os.MkdirTemp("", "bench-"); err != nil {
		return s, err
	}
	bin := filepath.Join(s.home, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return s, err
	}
	if err := os.Symlink(node, filepath.Join(bin, "wemixd")); err != nil {
		return s, err
	}
	if s.said, err = os.Create(filepath.Join(s.home, "log")); err != nil {
		return s, err
	}
	ports, err := freePorts(5)
	if err != nil {
		return s, err
	}
	local := func(i int) string { return "127.0.0.1:" + ports[i] }
	s.probes, s.ws, s.counts = local(0), "ws://"+local(2), "http://"+local(4)+"/debug/metrics/prometheus"
	data := filepath.Join(s.home, "home", "data")
	s.cmd = exec.Command(supervisor, "run", "--datadir="+data, "--dev", "--dev.period=1", "--cache=128", "--ipcdisable",
		"--http", "--http.port="+ports[1], "--ws", "--ws.port="+ports[2], "--authrpc.port="+ports[3],
		"--metrics", "--metrics.addr=127.0.0.1", "--metrics.port="+ports[4])
	rpc := map[string]string{"http": "http://" + local(1), "ws": s.ws}[transport]
	s.cmd.Env = []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "DAEMON_HOME=" + filepath.Join(s.home, "home"),
		"DAEMON_PROBE_ADDRESS=" + s.probes, "DAEMON_RPC_ADDRESS=" + rpc,
	}
	s.cmd.Stdout, s.cmd.Stderr = s.said, s.said
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		return s, fmt.Errorf("start the supervisor: %w", err)
	}
	for began := time.Now(); ; {
		if code, _, err := s.get("/readyz"); err == nil && code == http.StatusOK {
			return s, nil
		}
		if time.Since(began) > time.Minute {
			return s, errors.New("the node is not ready after a minute")
		}
		if err := rest(ctx, 100*time.Millisecond); err != nil {
			return s, err
		}
	}
}

// pid is the supervisor's.
func (s *stand) pid() int { return s.cmd.Process.Pid }

func (s *stand) get(path string) (int, string, error) { return get("http://" + s.probes + path) }

func get(url string) (int, string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// asked is how many RPC requests the node has counted.
func (s *stand) asked() (float64, error) {
	_, text, err := get(s.counts)
	if err != nil {
		return 0, fmt.Errorf("read the node's metrics: %w", err)
	}
	return sample(text, "rpc_requests")
}

// sample returns a metric's value out of an exposition.
func sample(exposition, name string) (float64, error) {
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(exposition)
	if m == nil {
		return 0, fmt.Errorf("no metric %s", name)
	}
	return strconv.ParseFloat(m[1], 64)
}

// pin keeps the supervisor on one core.
func (s *stand) pin(core int) error {
	var one unix.CPUSet
	one.Set(core)
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", s.pid()))
	if err != nil {
		return err
	}
	for _, thread := range threads { // new threads inherit it
		tid, _ := strconv.Atoi(filepath.Base(thread))
		if err := unix.SchedSetaffinity(tid, &one); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("pin the supervisor to a core: %w", err)
		}
	}
	return nil
}

// tail is the end of what supervisor and node said.
func (s *stand) tail() string {
	if s.said == nil {
		return ""
	}
	b, _ := os.ReadFile(s.said.Name())
	return string(b[max(0, len(b)-2000):])
}

func (s *stand) close() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		hung := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
		_ = s.cmd.Wait()
		hung.Stop()
	}
	if s.said != nil {
		_ = s.said.Close()
	}
	if s.home != "" {
		if err := os.RemoveAll(s.home); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
}

// freePorts returns ports that nobody had a moment ago.
func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = ln.Close() }() // all at the end, so that they differ
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		ports = append(ports, port)
	}
	return ports, nil
}
