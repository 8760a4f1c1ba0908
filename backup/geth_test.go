package backup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// geth is a real node on a development chain.
type geth struct {
	t       *testing.T
	root    string
	rpc     string
	process *exec.Cmd
	log     *os.File
}

func startGeth(t *testing.T, root string, args ...string) *geth {
	t.Helper()
	program, err := filepath.Abs("../.cache/bin/geth-v1.16.9")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("no node here, make tools builds it: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // for a port that is free
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	g := &geth{t: t, root: root, rpc: fmt.Sprintf("http://127.0.0.1:%d", port)}
	if g.log, err = os.Create(filepath.Join(t.TempDir(), "geth.log")); err != nil {
		t.Fatal(err)
	}
	g.process = exec.Command(program, append([]string{
		"--dev", "--dev.period", "1", "--datadir", root, "--http", "--http.port", fmt.Sprint(port),
		"--http.api", "eth,debug,net,web3", "--port", "0", "--authrpc.port", "0", "--ipcdisable",
	}, args...)...)
	g.process.Stdout, g.process.Stderr = g.log, g.log
	if err := g.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if g.process.ProcessState == nil {
			_ = g.process.Process.Kill()
			_ = g.process.Wait()
		}
		g.log.Close()
	})
	g.until("RPC answers", func() bool { _, err := g.call("eth_chainId"); return err == nil })
	return g
}

func (g *geth) until(what string, ok func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(g.log.Name())
			g.t.Fatalf("not within a minute: %s\n%s", what, text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (g *geth) call(method string, params ...any) (string, error) {
	if params == nil {
		params = []any{}
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return "", err
	}
	asked := time.Now()
	resp, err := http.Post(g.rpc, "application/json", bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("%s, after %s: %w", method, time.Since(asked), err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if strings.Contains(string(text), `"error"`) {
		return "", fmt.Errorf("%s: %s", method, text)
	}
	return string(text), nil
}

// block returns the number and the hash of a block.
func (g *geth) block(number string) (uint64, string) {
	g.t.Helper()
	text, err := g.call("eth_getBlockByNumber", number, false)
	if err != nil {
		g.t.Fatal(err)
	}
	var block struct{ Result struct{ Number, Hash string } }
	if err := json.Unmarshal([]byte(text), &block); err != nil {
		g.t.Fatal(err)
	}
	var n uint64
	_, _ = fmt.Sscanf(block.Result.Number, "0x%x", &n)
	return n, block.Result.Hash
}

func (g *geth) waitFor(height uint64) {
	g.t.Helper()
	g.until(fmt.Sprintf("height %d", height), func() bool { n, _ := g.block("latest"); return n >= height })
}

// sealing waits for blocks of the node's own, whatever it has come up with: it minds a
// signal only some time after its RPC answers.
func (g *geth) sealing() {
	g.t.Helper()
	head, _ := g.block("latest")
	g.waitFor(head + 2)
}

// stop ends it as a supervisor does, and wants a clean end.
func (g *geth) stop() {
	g.t.Helper()
	if err := g.process.Process.Signal(unix.SIGTERM); err != nil {
		g.t.Fatal(err)
	}
	if err := g.process.Wait(); err != nil {
		text, _ := os.ReadFile(g.log.Name())
		g.t.Fatalf("geth: %v\n%s", err, text)
	}
}

// A real node: stopped, taken, run on and cut back in place, and rolled back to the
// byte; then it stands where it stood.
func TestRealNode(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"pebble", "leveldb"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			root := filepath.Join(t.TempDir(), "data")
			s := snapshotter(root)
			g := startGeth(t, root, "--db.engine", engine)
			g.waitFor(5)
			if _, err := s.Prepare(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Commit(ctx, "test", Origin{}); err == nil {
				t.Error("a snapshot was made of a node that runs")
			} else {
				t.Log(err)
			}
			g.waitFor(7)
			if _, err := s.Prepare(ctx); err != nil {
				t.Fatal(err)
			}
			g.waitFor(8)
			g.stop()
			stopped := filepath.Join(t.TempDir(), "copy")
			run(t, "cp", "-a", root, stopped)
			want := image(t, stopped, true)
			snap, err := s.Commit(ctx, "test", Origin{CleanShutdown: true, Consistency: Stopped})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("window %s, %d of %d files linked, %d of %d bytes copied", snap.Window, snap.Linked, snap.Files, snap.Copied, snap.Bytes)

			g = startGeth(t, root, "--db.engine", engine)
			head, _ := g.block("latest")
			_, hash := g.block(fmt.Sprintf("0x%x", head-1))
			g.waitFor(head + 3)
			if _, err := g.call("debug_setHead", "0x3"); err != nil {
				t.Fatal(err)
			}
			g.waitFor(5)
			g.stop()
			key, err := os.ReadFile(filepath.Join(root, "geth/nodekey"))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(ctx, snap.ID); err != nil {
				t.Fatal(err)
			}
			back, err := s.Rollback(ctx, snap.ID)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("rollback %s", back.Duration)
			same(t, "rolled back", want, image(t, root, true))
			if now, err := os.ReadFile(filepath.Join(root, "geth/nodekey")); err != nil || !bytes.Equal(now, key) {
				t.Errorf("the node key is another: %v", err)
			}

			g = startGeth(t, root, "--db.engine", engine)
			defer g.stop()
			if n, have := g.block(fmt.Sprintf("0x%x", head-1)); n != head-1 || have != hash {
				t.Errorf("want block %d %s, have %d %s", head-1, hash, n, have)
			}
			if n, _ := g.block("latest"); n < head {
				t.Errorf("the head was lost: %d, and it was %d", n, head)
			}
			g.sealing()
		})
	}
}
