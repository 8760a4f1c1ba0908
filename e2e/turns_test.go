//go:build e2e

package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// geth that still seals by proof of authority; make tools builds it.
const sealer = "../.cache/bin/geth-v1.13.15"

// turn is one of four validators in containers, each under wemixvisor.
type turn struct {
	t        *testing.T
	name, ip string
}

// four is the image of a network of four signers, and how they are started.
type four struct {
	image    string
	accounts []string
}

func shell(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const subnet = "10.213.87."

// blockPeriod is longer than the 1.5 s that clique has those wait at most who seal
// out of turn, as four on one machine do when one is away.
const blockPeriod = 2 * time.Second

// makeFour makes the image: the base, the node, the slow one, four identities, and
// the first four blocks, of which each signer sealed one. Started together on the
// genesis block alone they may wait for each other for ever.
func makeFour(t *testing.T) four {
	t.Helper()
	if _, err := os.Stat(sealer); err != nil {
		t.Skip("no " + sealer + ": make tools builds it")
	}
	dir := t.TempDir()
	in := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	f := four{image: "wemixvisor-e2e-turns:" + strconv.Itoa(os.Getpid())}
	write(t, in("turns", "password"), "worthless")
	var peers []string
	for i := range 4 {
		out := shell(t, sealer, "account", "new", "--keystore", in("turns", strconv.Itoa(i), "keystore"), "--password", in("turns", "password"), "--lightkdf")
		account := regexp.MustCompile(`0x[0-9a-fA-F]{40}`).FindString(out)
		if account == "" {
			t.Fatalf("want an account, have %s", out)
		}
		f.accounts = append(f.accounts, strings.ToLower(account))
		key := make([]byte, 32)
		_, _ = rand.Read(key) // it never fails
		write(t, in("turns", strconv.Itoa(i), "nodekey"), hex.EncodeToString(key))
	}
	sorted := slices.Sorted(slices.Values(f.accounts))
	extra := "0x" + strings.Repeat("0", 64)
	for _, a := range sorted {
		extra += a[2:]
	}
	write(t, in("genesis.json"), `{"config":{"chainId":77078,"homesteadBlock":0,"eip150Block":0,"eip155Block":0,"eip158Block":0,
		"byzantiumBlock":0,"constantinopleBlock":0,"petersburgBlock":0,"istanbulBlock":0,"berlinBlock":0,"londonBlock":0,
		"clique":{"period":`+strconv.Itoa(int(blockPeriod.Seconds()))+`,"epoch":30000}},"difficulty":"1","gasLimit":"30000000","alloc":{},"extradata":"`+extra+strings.Repeat("0", 130)+`"}`)
	shell(t, sealer, "init", "--datadir", in("seed"), in("genesis.json"))
	for i, account := range f.accounts {
		out := shell(t, "timeout", "60", sealer, "--datadir", in("seed"), "--networkid", "77078", "--syncmode", "full", "--gcmode", "archive",
			"--nodiscover", "--nat", "none", "--maxpeers", "0", "--port", "0", "--authrpc.port", "0", "--ipcdisable",
			"--keystore", in("turns", strconv.Itoa(i), "keystore"), "--password", in("turns", "password"), "--unlock", account,
			"--mine", "--miner.etherbase", account, "--nodekey", in("turns", strconv.Itoa(i), "nodekey"),
			"--exec", fmt.Sprintf("while (eth.blockNumber < %d) admin.sleep(0.1); admin.nodeInfo.enode", i+1), "console")
		public := regexp.MustCompile(`enode://[0-9a-f]{128}@`).FindString(out)
		if public == "" {
			t.Fatalf("want who it is as a peer, have %s", out)
		}
		peers = append(peers, strconv.Quote(public+subnet+strconv.Itoa(11+i)+":30303"))
	}
	write(t, in("turns", "nodes.toml"), "[Node.P2P]\nStaticNodes = ["+strings.Join(peers, ", ")+"]\n")
	for _, own := range []string{"keystore", "geth/nodekey", "geth/jwtsecret"} {
		if err := os.RemoveAll(in("seed", own)); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-trimpath", "-o", in("turns", "late"), "./late")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build late: %v\n%s", err, out)
	}
	shell(t, "cp", "-L", sealer, in("wemixd"))
	shell(t, "chmod", "-R", "a+rX", dir)
	write(t, in("Dockerfile"), "FROM "+base+"\nCOPY wemixd /usr/local/bin/wemixd\nCOPY turns/ /turns/\nCOPY --chown=65532:65532 seed/ /data/data/\n")
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "-f", f.image).Run() })
	shell(t, "docker", "build", "-q", "-t", f.image, dir)
	return f
}

// start runs the network, and returns when all four seal.
func (f four) start(t *testing.T, env ...string) []*turn {
	t.Helper()
	network := "wemixvisor-e2e-turns-" + strconv.Itoa(os.Getpid())
	t.Cleanup(func() { _ = exec.Command("docker", "network", "rm", network).Run() })
	shell(t, "docker", "network", "create", "--subnet", subnet+"0/24", network)
	var all []*turn
	for i, account := range f.accounts {
		s := &turn{t: t, name: network + "-" + strconv.Itoa(i), ip: subnet + strconv.Itoa(11+i)}
		args := []string{
			"run", "-d", "--name", s.name, "--network", network, "--ip", s.ip, "-v", "/data",
			"--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--tmpfs", "/tmp",
			"-e", "DAEMON_CONFIRM_TIME=5s", "-e", "DAEMON_GATE_DOWNTIME=30s", "-e", "DAEMON_LIVE_MAX_RPC_SILENCE=0s",
		}
		for _, pair := range env {
			args = append(args, "-e", pair)
		}
		own := "/turns/" + strconv.Itoa(i)
		args = append(args, f.image, "run", "--datadir=/data/data", "--config=/turns/nodes.toml", "--networkid=77078",
			"--syncmode=full", "--gcmode=archive", "--cache=64", "--nodiscover", "--nat=none", "--nodekey="+own+"/nodekey",
			"--keystore="+own+"/keystore", "--password=/turns/password", "--unlock="+account, "--mine", "--miner.etherbase="+account,
			"--allow-insecure-unlock", "--http", "--http.addr=0.0.0.0", "--http.vhosts=*", "--http.api=eth,net,web3")
		t.Cleanup(func() {
			if t.Failed() {
				out, _ := exec.Command("docker", "logs", "--tail", "60", s.name).CombinedOutput()
				t.Logf("%s:\n%s", s.name, out)
			}
			_ = exec.Command("docker", "rm", "-fv", s.name).Run()
		})
		shell(t, "docker", args...)
		all = append(all, s)
	}
	for _, s := range all {
		until(t, s.name+" to seal with all others", 2*time.Minute, func() bool {
			// The first four blocks are the image's; a round later they are theirs.
			return s.height() >= 12 && s.metric("wemixvisor_validators_active") == 4 && s.metric("wemixvisor_validator_is_active") == 1
		}, s.logs)
	}
	return all
}

func (s *turn) logs() string {
	out, _ := exec.Command("docker", "logs", "--tail", "30", s.name).CombinedOutput()
	return string(out)
}

// command runs our binary inside the container.
func (s *turn) command(args ...string) string {
	s.t.Helper()
	return shell(s.t, "docker", append([]string{"exec", s.name, "wemixvisor"}, args...)...)
}

func (s *turn) metric(name string) float64 {
	_, text := get(s.t, "http://"+s.ip+":9090/metrics")
	v, _ := value(text, name)
	return v
}

func (s *turn) height() uint64 { return uint64(s.metric("wemixvisor_node_height")) }

// changing reports whether something is being done to the node.
func (s *turn) changing() bool {
	_, body := get(s.t, "http://"+s.ip+":9090/readyz?verbose")
	return strings.Contains(body, "[-]change")
}

type turnStatus struct {
	Upgrade string `json:"upgrade"`
	PID     int    `json:"pid"`
	Gate    *struct {
		Reason string `json:"reason"`
	} `json:"gate"`
}

func (s *turn) status() (st turnStatus) {
	s.t.Helper()
	out := s.command("status", "--json")
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	return st
}

// stage is how far the upgrade has come.
func (s *turn) stage() string {
	s.t.Helper()
	var list []struct{ Name, Stage, Reason string }
	out := s.command("upgrade", "list", "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 {
		s.t.Fatalf("want one upgrade, have %v: %s", err, out)
	}
	return list[0].Stage
}

// stood returns the longest time between two blocks from the height on, by their
// own clocks, and the last of them.
func (s *turn) stood(from uint64) (longest time.Duration, at, last uint64) {
	s.t.Helper()
	var before uint64
	last = s.height()
	for n := from; n <= last; n++ {
		request := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["%#x",false]}`, n)
		resp, err := http.Post("http://"+s.ip+":8545", "application/json", bytes.NewBufferString(request))
		if err != nil {
			s.t.Fatal(err)
		}
		var answer struct{ Result struct{ Timestamp string } }
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		now, bad := strconv.ParseUint(answer.Result.Timestamp, 0, 64)
		if err != nil || bad != nil {
			s.t.Fatalf("block %d: %v %v", n, err, bad)
		}
		if gap := time.Duration(now-before) * time.Second; before > 0 && gap > longest {
			longest, at = gap, n
		}
		before = now
	}
	return longest, at, last
}

// scheduleAll gives all the same plan for the same height.
func scheduleAll(t *testing.T, all []*turn, ahead uint64) (height uint64) {
	t.Helper()
	height = all[0].height() + ahead
	for _, s := range all {
		s.command("upgrade", "schedule", "late", strconv.FormatUint(height, 10), "--binary", "/turns/late")
	}
	return height
}

// TestValidatorsTakeTurns gives four validators the same plan for the same
// height, whose binary takes 20 s to start: with validator-mode the chain does not
// notice, without it it stands. First one of the four is down: nobody else goes.
func TestValidatorsTakeTurns(t *testing.T) {
	if os.Getenv("WEMIXVISOR_LONG") == "" {
		t.Skip("takes a quarter of an hour; make test-long runs it")
	}
	f := makeFour(t)
	t.Run("without validator-mode the chain stands", func(t *testing.T) {
		all := f.start(t)
		from := all[0].height()
		height := scheduleAll(t, all, 15)
		for _, s := range all {
			until(t, s.name+" on the new binary", 3*time.Minute, func() bool {
				st := s.status()
				return s.height() >= height && st.Upgrade == "late" && st.PID != 0
			}, s.logs)
		}
		// All gone at once, four signers may not find together again at all: each has
		// sealed a block that the others don't follow. That is a stall too.
		const patience = time.Minute
		going := func() bool { return all[0].height() > height+5 }
		for end := time.Now().Add(patience); !going() && time.Now().Before(end); {
			<-time.After(time.Second)
		}
		stood, at, _ := all[0].stood(from)
		if !going() {
			stood = max(stood, patience)
		}
		t.Logf("without validator-mode the chain stood for %s before block %d", stood, at)
		if stood < 15*time.Second {
			t.Errorf("want it to stand while all four are away, have %s: then the other half shows nothing", stood)
		}
	})
	t.Run("with validator-mode it does not", func(t *testing.T) {
		all := f.start(t, "VALIDATOR_MODE=true")
		from := all[0].height()
		height := scheduleAll(t, all, 20)
		absent, others := all[3], all[:3]
		absent.command("stop", "--force")
		for _, s := range others {
			until(t, s.name+" to say why it waits", 2*time.Minute, func() bool {
				st := s.status()
				return s.height() > height && st.Gate != nil && strings.Contains(st.Gate.Reason, "only 3 of 4 validators seal and the quorum is 3")
			}, s.logs)
		}
		// A whole round of turns would not be too long to wait; some blocks of each
		// are shown.
		until(t, "40 blocks past the height", 4*time.Minute, func() bool { return others[0].height() > height+40 }, others[0].logs)
		for _, s := range others {
			if stage := s.stage(); stage != "waiting" || s.status().PID == 0 {
				t.Errorf("%s: want it to wait for the absent one, have %s", s.name, stage)
			}
		}
		absent.command("start")

		most, done := 0, map[string]bool{}
		until(t, "all four on the new binary", 10*time.Minute, func() bool {
			away := 0
			for _, s := range all {
				switch {
				case s.changing():
					away++
				case !done[s.name] && s.stage() == "done":
					done[s.name] = true
					t.Logf("%s is done at block %d", s.name, s.height())
				}
			}
			most = max(most, away)
			return len(done) == len(all)
		}, all[0].logs)
		for _, s := range all {
			if have := s.status().Upgrade; have != "late" {
				t.Errorf("%s: want the new binary, have %s", s.name, have)
			}
		}
		// Back alone, a signer may seal a block that the others don't follow: what it
		// tells then is no part of the chain.
		together := all[1].height() + 10
		for _, s := range all {
			until(t, s.name+" to have the others' chain", 2*time.Minute, func() bool { return s.height() >= together }, s.logs)
		}
		stood, at, last := all[0].stood(from)
		t.Logf("with validator-mode the chain stood for %s at most, before block %d, in blocks %d to %d; %d away at a time", stood, at, from, last, most)
		if stood > 3*blockPeriod || most != 1 {
			t.Errorf("want the chain going and one away at a time, have it stand for %s and %d away", stood, most)
		}
	})
}
