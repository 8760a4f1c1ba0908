//go:build e2e

package e2e

import (
	"context"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var signers = []string{"signer1", "signer2", "signer3"}

// composed is a docker compose command, in its plugin's or its older form.
func composed(args ...string) *exec.Cmd {
	cmd := []string{"docker-compose"}
	if exec.Command("docker", "compose", "version").Run() == nil {
		cmd = []string{"docker", "compose"}
	}
	cmd = append(cmd, "-f", "../docker-compose.yml", "-f", "network/short.yml", "-p", "wemixvisor-e2e", "--profile", "validators")
	cmd = append(cmd, args...)
	return exec.Command(cmd[0], cmd[1:]...)
}

func compose(t *testing.T, args ...string) string {
	t.Helper()
	cmd := composed(args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// signer is one of compose's validators, and the kubelet that watches it.
type signer struct {
	t       *testing.T
	name    string
	id      string
	kubelet *kubelet
}

// bring starts the network.
func bring(t *testing.T) []*signer {
	t.Helper()
	t.Cleanup(func() { compose(t, "down", "-v", "-t", "20") })
	compose(t, append([]string{"up", "-d"}, signers...)...)
	var network []*signer
	for _, name := range signers {
		out, err := composed("ps", "-q", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		s := &signer{t: t, name: name, id: strings.TrimSpace(string(out))}
		s.kubelet = watch(t, name, usual, s.place)
		network = append(network, s)
	}
	return network
}

// inspect asks the engine of the container.
func (s *signer) inspect(ctx context.Context, format string) string {
	out, _ := exec.CommandContext(ctx, "docker", "inspect", "-f", format, s.id).Output()
	return strings.TrimSpace(string(out))
}

// place is where a kubelet finds it: by the container's own address, since
// nothing of it is published.
func (s *signer) place(ctx context.Context) (run, url string) {
	said := s.inspect(ctx, "{{.State.Running}} {{.State.StartedAt}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
	words := strings.Fields(said)
	if len(words) != 3 || words[0] != "true" {
		return "", ""
	}
	return words[1], "http://" + words[2] + ":9090"
}

// get asks the probe listener; 0 when nobody answers.
func (s *signer) get(path string) (int, string) {
	s.t.Helper()
	_, url := s.place(s.t.Context())
	return get(s.t, url+path)
}

func (s *signer) metric(name string) float64 {
	s.t.Helper()
	_, text := s.get("/metrics")
	v, _ := value(text, name)
	return v
}

// command runs our binary inside the container.
func (s *signer) command(args ...string) {
	s.t.Helper()
	compose(s.t, append([]string{"exec", "-T", s.name, "wemixvisor"}, args...)...)
}

func (s *signer) until(what string, limit time.Duration, ok func() bool) {
	s.t.Helper()
	until(s.t, s.name+" "+what, limit, ok, func() string { return compose(s.t, "logs", "--tail=20", s.name) })
}

func (s *signer) ready() {
	s.t.Helper()
	s.until("ready", 2*time.Minute, func() bool { code, _ := s.get("/readyz"); return code == http.StatusOK })
}

func TestHaltedChainIsNotReadyAndNobodyIsKilled(t *testing.T) {
	network := bring(t)
	for _, s := range network {
		s.until("at height 5", 2*time.Minute, func() bool { return s.metric("wemixvisor_node_height") >= 5 })
		s.ready()
	}
	run, _ := network[0].place(t.Context())
	for _, file := range []string{"../probe/dashboard.json", "../probe/rules.yml"} {
		for _, name := range named(t, file) {
			if strings.HasPrefix(name, consensus) {
				network[0].until("telling "+name+", which "+file+" names", 30*time.Second, func() bool {
					_, text := network[0].get("/metrics")
					return strings.Contains(text, "\n"+name)
				})
			}
		}
	}

	// Two of three are the quorum: the third can't go on alone.
	for _, s := range network[1:] {
		s.command("stop")
	}
	network[0].until("not ready by head age", 30*time.Second, func() bool {
		code, body := network[0].get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "[-]sync head ")
	})
	halted := network[0].metric("wemixvisor_node_height")
	if v := network[0].metric("wemixvisor_node_syncing"); v != 0 {
		t.Errorf("want eth_syncing false, as a halted chain has it; have %v", v)
	}
	for _, s := range network {
		if code, body := s.get("/livez"); code != http.StatusOK {
			t.Errorf("%s: want live, have %d %s", s.name, code, body)
		}
		if code, _ := s.get("/readyz"); code != http.StatusServiceUnavailable {
			t.Errorf("%s: want not ready, have %d", s.name, code)
		}
	}
	for _, s := range network[1:] {
		if _, body := s.get("/readyz"); !strings.Contains(body, "stopped") {
			t.Errorf("%s: want why, have %s", s.name, body)
		}
	}

	for _, s := range network[1:] {
		s.command("start")
	}
	for _, s := range network { // a redial takes up to 35 s
		s.ready()
		s.until("beyond the halt", time.Minute, func() bool { return s.metric("wemixvisor_node_height") > halted })
		if n := s.metric(`wemixvisor_node_restarts_total{reason="exit"}`); n != 0 {
			t.Errorf("%s: want no restart of the node, have %v", s.name, n)
		}
		if n := s.inspect(t.Context(), "{{.RestartCount}}"); n != "0" {
			t.Errorf("%s: want no restart of the container, have %s", s.name, n)
		}
	}
	if now, _ := network[0].place(t.Context()); now != run {
		t.Errorf("want the container that was started at %s, have %s", run, now)
	}
}
