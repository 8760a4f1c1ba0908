package chain

import (
	"context"
	"net"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
)

// deadline is how long a test waits for what must come.
const deadline = 20 * time.Second

// node is go-ethereum's own RPC server with the little of a node that health
// needs. Its methods' results belong to the mutex.
type node struct {
	server *rpc.Server

	mu      sync.Mutex
	head    uint64
	chainID uint64
	genesis string
	name    string
	asked   chan string // every method called, when not nil
	subs    []chan header
}

func newNode(t *testing.T) *node { return newNodeWith(t, "eth", "net", "web3") }

// newNodeWith returns one that offers some of its namespaces.
func newNodeWith(t *testing.T, namespaces ...string) *node {
	n := &node{server: rpc.NewServer(), head: 1, chainID: 1337, genesis: hash(0), name: "Geth/v1.16.9-stable-95665d57/linux-amd64/go1.26"}
	all := map[string]any{"eth": &ethAPI{n}, "net": &netAPI{n}, "web3": &web3API{n}}
	for _, name := range namespaces {
		api := all[name]
		if err := n.server.RegisterName(name, api); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(n.server.Stop)
	return n
}

func (n *node) http(t *testing.T) string {
	srv := httptest.NewServer(n.server)
	t.Cleanup(srv.Close)
	return srv.URL
}

func (n *node) ws(t *testing.T) string {
	srv := httptest.NewServer(n.server.WebsocketHandler([]string{"*"}))
	t.Cleanup(srv.Close)
	return "ws" + srv.URL[len("http"):]
}

func (n *node) ipc(t *testing.T, path string) string {
	serveIPC(t, n.server, path)
	return path
}

func serveIPC(t *testing.T, server *rpc.Server, path string) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // joined by the cleanup
		defer close(done)
		server.ServeListener(ln)
	}()
	t.Cleanup(func() { ln.Close(); server.Stop(); <-done })
}

// mine makes a block and tells the subscribers.
func (n *node) mine() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.head++
	for _, s := range n.subs {
		s <- n.block(n.head)
	}
}

func (n *node) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *node) block(number uint64) header {
	if number == 0 {
		return header{Hash: n.genesis}
	}
	return header{Number: hexutil.Uint64(number), Timestamp: hexutil.Uint64(time.Now().Unix()), Hash: hash(number)}
}

func (n *node) note(method string) {
	if n.asked != nil {
		n.asked <- method
	}
}

func hash(n uint64) string {
	b := make([]byte, 32)
	b[31], b[30] = byte(n), byte(n>>8)
	return hexutil.Encode(b)
}

type ethAPI struct{ n *node }

func (a *ethAPI) ChainId() hexutil.Uint64 {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	return hexutil.Uint64(a.n.chainID)
}

func (a *ethAPI) GetBlockByNumber(number string, full bool) header {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	a.n.note("eth_getBlockByNumber")
	if number == "0x0" {
		return a.n.block(0)
	}
	return a.n.block(a.n.head)
}

func (a *ethAPI) Syncing() bool { return false }

func (a *ethAPI) NewHeads(ctx context.Context) (*rpc.Subscription, error) {
	notifier, ok := rpc.NotifierFromContext(ctx)
	if !ok {
		return nil, rpc.ErrNotificationsUnsupported
	}
	sub, heads := notifier.CreateSubscription(), make(chan header, 16)
	a.n.set(func() { a.n.subs = append(a.n.subs, heads) })
	go func() { // ends with the connection, which every test closes
		for {
			select {
			case h := <-heads:
				notifier.Notify(sub.ID, h)
			case <-sub.Err():
				return
			}
		}
	}()
	return sub, nil
}

type netAPI struct{ n *node }

func (a *netAPI) PeerCount() hexutil.Uint64 { return 3 }
func (a *netAPI) Listening() bool           { return true }

type web3API struct{ n *node }

func (a *web3API) ClientVersion() string {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	return a.n.name
}
