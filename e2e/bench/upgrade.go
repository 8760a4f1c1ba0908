package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/wemix/wemixvisor/e2e/chaindata"
)

// upgradePoll is the poll-interval of the supervisor that is measured.
const upgradePoll = 300 * time.Millisecond

// benchUpgrades measures how long a node is down for an upgrade, beside data of
// several sizes, and how soon one begins.
func benchUpgrades(ctx context.Context, supervisor, node string, rounds int) (where string, cells [][]string, err error) {
	ctx, cancel := limit(ctx)
	defer cancel()
	if supervisor, err = program(supervisor); err != nil {
		return "", nil, err
	}
	if node, err = program(node); err != nil {
		return "", nil, err
	}
	const ours = "wemixvisor"
	exec16 := newRow("exit of the old to exec of the new binary, 16 MB, ms", 1).atMost(50, " ms")
	snap16, start16 := newRow("  of that the snapshot, ms", 1), newRow("  of that the start, ms", 1)
	begin := newRow("trigger file written to node told to stop, ms", 0).atMost(float64(upgradePoll.Milliseconds())+20, " ms")
	half := newRow("window for the snapshot, 0.5 GB, ms", 1)
	large := newRow("window for the snapshot, 2.5 GB, ms", 1)
	plain := newRow("plain recursive copy of 2.5 GB, ms", 0)
	share := newRow("snapshot of 2.5 GB, share of the plain copy", 3).atMost(0.2, "")
	flat := newRow("2.5 GB as a multiple of 0.5 GB", 2).atMost(1.3, "")

	small := chaindata.Shape{Logs: 4, LogSize: 4 << 20, FileSize: 2 << 10, Seed: 1}
	if err := benchUpgrade(ctx, supervisor, node, small, rounds, func(u measured, _ string) {
		exec16.addMillis(ours, u.snapshot+u.hook+u.start)
		snap16.addMillis(ours, u.snapshot)
		start16.addMillis(ours, u.start)
		begin.addMillis(ours, u.begin)
	}, nil); err != nil {
		return "", nil, err
	}
	if err := benchUpgrade(ctx, supervisor, node, chaindata.GB(0.5, 64<<20), rounds, func(u measured, _ string) { half.addMillis(ours, u.snapshot) }, nil); err != nil {
		return "", nil, err
	}
	if err := benchUpgrade(ctx, supervisor, node, chaindata.GB(2.5, 64<<20), rounds, func(u measured, _ string) { large.addMillis(ours, u.snapshot) }, func(data string) error {
		at := time.Now()
		if out, err := exec.CommandContext(ctx, "cp", "-r", data, data+".copy").CombinedOutput(); err != nil {
			return fmt.Errorf("copy: %w: %s", err, out)
		}
		plain.addMillis(ours, time.Since(at))
		return nil
	}); err != nil {
		return "", nil, err
	}
	share.add(ours, large.value(ours)/plain.value(ours))
	flat.add(ours, large.value(ours)/half.value(ours))
	cells = [][]string{{"median", ours, "bar"}}
	for _, r := range []*row{exec16, snap16, start16, begin, half, large, flat, plain, share} {
		cells = append(cells, []string{r.name, r.cell(ours), r.verdict(ours)})
	}
	return machine(ctx, nil) + fmt.Sprintf(" · rounds: %d", rounds), cells, nil
}

// measured is one upgrade.
type measured struct{ begin, stop, snapshot, hook, start time.Duration }

// benchUpgrade applies a plan in each round, of a geth beside data of that shape.
// after, if not nil, is given the data when the node is down again.
func benchUpgrade(ctx context.Context, supervisor, node string, s chaindata.Shape, rounds int, each func(measured, string), after func(data string) error) (err error) {
	home, err := os.MkdirTemp("", "bench-upgrade-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	data := filepath.Join(home, "data")
	if _, err := chaindata.Make(filepath.Join(data, "ballast"), s); err != nil {
		return err
	}
	bin := filepath.Join(home, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(node, filepath.Join(bin, "wemixd")); err != nil {
		return err
	}
	rpc, err := freePort()
	if err != nil {
		return err
	}
	b := upgrading{supervisor: supervisor, env: append(os.Environ(),
		"PATH="+bin+":"+os.Getenv("PATH"), "DAEMON_HOME="+home, "DAEMON_PROBE_ADDRESS=off", "DAEMON_RPC_ADDRESS="+rpc,
		"DAEMON_CONFIRM_TIME=0s", "DAEMON_CONFIRM_BLOCKS=0", "DAEMON_SNAPSHOT_KEEP=0s", "DAEMON_BACKUP_REQUIRE_ARCHIVE=never",
		"DAEMON_BACKUP_MIN_FREE=1%", "DAEMON_IMAGE_POLICY=ignore", "DAEMON_POLL_INTERVAL="+upgradePoll.String())}
	_, port, _ := net.SplitHostPort(rpc)
	cmd := exec.CommandContext(ctx, supervisor, "run", "--datadir="+data, "--dev", "--dev.period=1", "--http", "--http.port="+port,
		"--port=0", "--authrpc.port=0", "--ipcdisable", "--cache=64")
	cmd.Env, cmd.Cancel = b.env, func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	log, err := os.Create(filepath.Join(home, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if err == nil && after != nil {
			err = after(filepath.Join(data, "ballast"))
		}
		if err != nil {
			text, _ := os.ReadFile(log.Name())
			err = fmt.Errorf("%w\n%s", err, text[max(0, len(text)-4000):])
		}
	}()
	for n := range rounds {
		u, err := b.round(ctx, fmt.Sprintf("u%d", n+1), node, data, rpc)
		if err != nil {
			return err
		}
		each(u, data)
	}
	return nil
}

// upgrading is a supervisor that is driven by its own commands.
type upgrading struct {
	supervisor string
	env        []string
}

func (b upgrading) command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.supervisor, args...)
	cmd.Env = b.env
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%v: %w: %s", args, err, exit.Stderr)
	}
	return out, err
}

// record is what upgrade status tells of a plan.
type record struct {
	Stage  string
	Reason string
	Switch *struct {
		Began    time.Time
		Downtime struct{ Stop, Snapshot, Hook, Start time.Duration }
	}
}

func (b upgrading) becomes(ctx context.Context, name, stage string) (r record, err error) {
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		out, serr := b.command(ctx, "upgrade", "status", name, "--json")
		if serr == nil && json.Unmarshal(out, &r) == nil && r.Stage == stage {
			return r, nil
		}
		err = serr
	}
	return r, fmt.Errorf("%s never became %s, it is %s: %s %v", name, stage, r.Stage, r.Reason, err)
}

// round stages a binary and has it checked, and the snapshot made ready, by a
// plan that is cancelled; then the trigger file says that it is due.
func (b upgrading) round(ctx context.Context, name, node, data, rpc string) (u measured, err error) {
	head, err := waitHead(ctx, rpc)
	if err != nil {
		return u, err
	}
	if _, err := b.command(ctx, "upgrade", "schedule", name, fmt.Sprint(head+40), "--binary", node); err != nil {
		return u, err
	}
	time.Sleep(5 * time.Second) // the snapshot of a near plan is made ready meanwhile, at whatever size
	if _, err := b.command(ctx, "upgrade", "cancel", name); err != nil {
		return u, err
	}
	time.Sleep(2 * upgradePoll)
	file := filepath.Join(data, "upgrade-info.json")
	if err := os.WriteFile(file+".new", fmt.Appendf(nil, `{"name":%q,"height":0}`, name), 0o644); err != nil {
		return u, err
	}
	at := time.Now()
	if err := os.Rename(file+".new", file); err != nil {
		return u, err
	}
	r, err := b.becomes(ctx, name, "done")
	if err != nil {
		return u, err
	}
	d := r.Switch.Downtime
	return measured{r.Switch.Began.Sub(at), d.Stop, d.Snapshot, d.Hook, d.Start}, nil
}

func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// waitHead returns the node's head once it tells one.
func waitHead(ctx context.Context, rpc string) (uint64, error) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		resp, err := http.Post("http://"+rpc, "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}`))
		if err != nil {
			continue
		}
		var answer struct{ Result string }
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		var head uint64
		if _, serr := fmt.Sscanf(answer.Result, "0x%x", &head); err == nil && serr == nil && head > 0 {
			return head, nil
		}
	}
	return 0, fmt.Errorf("no head at %s", rpc)
}
