//go:build e2e

package e2e

import (
	"encoding/json"
	"os/exec"
	"testing"
	"time"
)

// composed is a docker compose command, in its plugin's or its older form.
func composed(args ...string) *exec.Cmd {
	cmd := []string{"docker-compose"}
	if exec.Command("docker", "compose", "version").Run() == nil {
		cmd = []string{"docker", "compose"}
	}
	cmd = append(cmd, "-f", "../docker-compose.yml", "-p", "wemixvisor-e2e", "--profile", "validators")
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

func height(t *testing.T, signer string) uint64 {
	t.Helper()
	out, err := composed("exec", "-T", signer, "wemixvisor", "status", "--json").Output()
	if err != nil {
		return 0
	}
	var st struct {
		Node struct {
			Height uint64 `json:"height"`
		} `json:"node"`
	}
	_ = json.Unmarshal(out, &st)
	return st.Node.Height
}

func TestThreeSignersSeal(t *testing.T) {
	signers := []string{"signer1", "signer2", "signer3"}
	t.Cleanup(func() { compose(t, "down", "-v", "-t", "20") })
	compose(t, append([]string{"up", "-d"}, signers...)...)
	for _, s := range signers {
		until(t, s+" at height 5", 2*time.Minute, func() bool { return height(t, s) >= 5 },
			func() string { return compose(t, "logs", "--tail=20", s) })
	}
}
