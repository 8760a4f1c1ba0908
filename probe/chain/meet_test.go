package chain

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestConsensusOverIPC(t *testing.T) {
	t.Parallel()
	// Over HTTP only what geth offers by default, over IPC everything.
	few := newNodeWith(t, "net", "web3")
	dir := t.TempDir()
	r := record(t, "wbft-4validators.json")
	r.ipc(t, filepath.Join(dir, "geth.ipc"))
	few.set(func() { few.name = "Gstable/v1.0.1-stable-940e9f28/linux-amd64/go1.26.8" })
	_, wait := watch(t, Config{Address: few.http(t), IPC: filepath.Join(dir, "*.ipc")})
	c := wait("a view", func(c Consensus) bool { return c.Kind != "" })
	if c.Kind != WBFT || len(c.Validators) != 4 || c.Self == "" {
		t.Fatalf("want what IPC tells, have %+v", c)
	}
}

func TestConsensusThatIsNotOffered(t *testing.T) {
	t.Parallel()
	n := newNodeWith(t, "net", "web3")
	n.set(func() { n.name = "Gstable/v1.0.1-stable-940e9f28/linux-amd64/go1.26.8" })
	dir := t.TempDir()
	newNode(t).ipc(t, filepath.Join(dir, "a.ipc")) // of another chain: not asked further
	_, wait := watch(t, Config{Address: n.http(t), IPC: filepath.Join(dir, "*.ipc")})
	c := wait("a view", known)
	if want := "the istanbul namespace of this wbft node is not offered at"; c.Kind != "" || !strings.HasPrefix(c.Err, want) {
		t.Fatalf("want %q, have %q, %q", want, c.Kind, c.Err)
	}
	if ok, reason := c.MayStop(time.Now()); !ok || reason != c.Err {
		t.Fatalf("want it open with a warning, have %v, %q", ok, reason)
	}
}

func TestPlainGethIsLeftAlone(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	f, wait := watch(t, Config{Address: n.http(t), ConsensusEvery: time.Millisecond})
	c := wait("a view", known)
	if ok, reason := c.MayStop(time.Now()); c.Kind != "" || !ok || reason != "" {
		t.Fatalf("want it free to stop, have %+v, %v, %q", c, ok, reason)
	}
	asked := c.Calls
	if asked > 4 {
		t.Errorf("want no more than its identity asked, have %d calls", asked)
	}
	f.NodeStopped()
	if ok, reason := f.Consensus().MayStop(time.Now()); !ok || reason != "" {
		t.Errorf("want a node that is down free to stop, have %v, %q", ok, reason)
	}
}

func TestConsensusWhenTheAddressHangs(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	dir := t.TempDir()
	r := record(t, "wbft-4validators.json")
	r.ipc(t, filepath.Join(dir, "geth.ipc"))
	_, wait := watch(t, Config{Address: ln.Addr().String(), IPC: filepath.Join(dir, "*.ipc"), Timeout: 300 * time.Millisecond})
	if c := wait("a view over IPC", known); c.Kind != WBFT || len(c.Validators) != 4 {
		t.Fatalf("want what IPC tells, have %+v", c)
	}
}
