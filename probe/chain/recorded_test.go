package chain

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
)

// recording is go-ethereum's own RPC server that answers as a recorded node did.
// A method that node did not have is not registered, so that the server itself
// refuses it; one that was recorded with other parameters only answers null.
type recording struct {
	server *rpc.Server
	said   map[string]exchange

	mu    sync.Mutex
	other map[string]func(params ...any) (any, error) // answers in place of the recorded
	asked []string                                    // "method [params]"
}

type exchange struct {
	Method string          `json:"method"`
	Params []any           `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *refusal        `json:"error"`
}

type refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (r *refusal) Error() string  { return r.Message }
func (r *refusal) ErrorCode() int { return r.Code }

// record returns the recorded node, without those methods.
func record(t *testing.T, file string, without ...string) *recording {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var exchanges []exchange
	if err := json.Unmarshal(data, &exchanges); err != nil {
		t.Fatal(err)
	}
	r := &recording{
		server: rpc.NewServer(), said: make(map[string]exchange),
		other: make(map[string]func(...any) (any, error)),
	}
	t.Cleanup(r.server.Stop)
	offered := make(map[string]bool)
	for _, e := range exchanges {
		k := key(e.Method, e.Params)
		if _, twice := r.said[k]; !twice {
			r.said[k] = e
		}
		offered[e.Method] = offered[e.Method] || e.Error == nil || e.Error.Code != -32601
	}
	for method, api := range r.methods() {
		if strings.HasPrefix(method, "clique") || method == "eth_coinbase" { // of no recorded node
			continue
		}
		namespace, _, _ := strings.Cut(method, "_")
		has := offered["istanbul_getValidators"]
		if namespace != "istanbul" || has { // the namespace is there even if its methods are not
			r.register(t, namespace, nothingAPI{})
		}
		if offered[method] && !slices.Contains(without, method) {
			r.register(t, namespace, api)
		}
	}
	return r
}

func (r *recording) register(t *testing.T, namespace string, api any) {
	t.Helper()
	if err := r.server.RegisterName(namespace, api); err != nil {
		t.Fatal(err)
	}
}

func (r *recording) http(t *testing.T) string {
	srv := httptest.NewServer(r.server)
	t.Cleanup(srv.Close)
	return srv.URL
}

func (r *recording) ipc(t *testing.T, path string) {
	serveIPC(t, r.server, path)
}

// answer has a method answer otherwise than recorded.
func (r *recording) answer(method string, f func(params ...any) (any, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.other[method] = f
}

// questions returns what was asked so far: all, or of one namespace.
func (r *recording) questions(namespace string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var asked []string
	for _, q := range r.asked {
		if strings.HasPrefix(q, namespace) {
			asked = append(asked, q)
		}
	}
	return asked
}

func (r *recording) say(method string, params ...any) (any, error) {
	r.mu.Lock()
	r.asked = append(r.asked, key(method, params))
	other := r.other[method]
	r.mu.Unlock()
	if other != nil {
		return other(params...)
	}
	e, ok := r.said[key(method, params)]
	if !ok && method == "istanbul_status" && len(params) == 2 {
		// Recorded were the last nine blocks only, which are the last four and some.
		for _, e = range r.said {
			if e.Method == method && len(e.Params) == 2 && e.Params[1] == params[1] {
				ok = true
				break
			}
		}
	}
	if !ok && method == "istanbul_getValidators" { // they never changed while it was recorded
		head := r.said[key("eth_blockNumber", nil)]
		var h string
		json.Unmarshal(head.Result, &h)
		if hexutil.MustDecodeUint64(params[0].(string)) <= hexutil.MustDecodeUint64(h) {
			e, ok = r.said[key(method, nil)]
		} else {
			return nil, &refusal{-32000, "unknown block"}
		}
	}
	switch {
	case !ok:
		return nil, nil
	case e.Error != nil:
		return nil, e.Error
	}
	return e.Result, nil
}

func key(method string, params []any) string {
	if len(params) == 0 {
		return method + " []"
	}
	text, err := json.Marshal(params)
	if err != nil {
		panic(err)
	}
	return method + " " + string(text)
}

// given returns the parameters that were.
func given(params ...*string) []any {
	var g []any
	for _, p := range params {
		if p != nil {
			g = append(g, *p)
		}
	}
	return g
}

// methods returns every method of interest, each as something to register.
func (r *recording) methods() map[string]any {
	return map[string]any{
		"eth_chainId":                        chainIDAPI{r},
		"eth_syncing":                        syncingAPI{r},
		"eth_getBlockByNumber":               blockAPI{r},
		"net_peerCount":                      peerCountAPI{r},
		"net_listening":                      listeningAPI{r},
		"web3_clientVersion":                 clientVersionAPI{r},
		"admin_nodeInfo":                     nodeInfoAPI{r},
		"admin_peers":                        peersAPI{r},
		"admin_wemixInfo":                    wemixInfoAPI{r},
		"admin_wemixNodes":                   wemixNodesAPI{r},
		"debug_etcdGet":                      etcdGetAPI{r},
		"istanbul_nodeAddress":               nodeAddressAPI{r},
		"istanbul_getValidators":             getValidatorsAPI{r},
		"istanbul_status":                    statusAPI{r},
		"istanbul_getSignersFromBlock":       signersAPI{r},
		"istanbul_getCommitSignersFromBlock": commitSignersAPI{r},
		"clique_getSigners":                  getSignersAPI{r},
		"clique_getSigner":                   getSignerAPI{r},
		"eth_coinbase":                       coinbaseAPI{r},
	}
}

type (
	nothingAPI       struct{}
	chainIDAPI       struct{ *recording }
	syncingAPI       struct{ *recording }
	blockAPI         struct{ *recording }
	peerCountAPI     struct{ *recording }
	listeningAPI     struct{ *recording }
	clientVersionAPI struct{ *recording }
	nodeInfoAPI      struct{ *recording }
	peersAPI         struct{ *recording }
	wemixInfoAPI     struct{ *recording }
	wemixNodesAPI    struct{ *recording }
	etcdGetAPI       struct{ *recording }
	nodeAddressAPI   struct{ *recording }
	getValidatorsAPI struct{ *recording }
	statusAPI        struct{ *recording }
	signersAPI       struct{ *recording }
	commitSignersAPI struct{ *recording }
	getSignersAPI    struct{ *recording }
	getSignerAPI     struct{ *recording }
	coinbaseAPI      struct{ *recording }
)

func (nothingAPI) Nothing()                              {}
func (a chainIDAPI) ChainId() (any, error)               { return a.say("eth_chainId") }
func (a syncingAPI) Syncing() (any, error)               { return a.say("eth_syncing") }
func (a peerCountAPI) PeerCount() (any, error)           { return a.say("net_peerCount") }
func (a listeningAPI) Listening() (any, error)           { return a.say("net_listening") }
func (a clientVersionAPI) ClientVersion() (any, error)   { return a.say("web3_clientVersion") }
func (a nodeInfoAPI) NodeInfo() (any, error)             { return a.say("admin_nodeInfo") }
func (a peersAPI) Peers() (any, error)                   { return a.say("admin_peers") }
func (a wemixInfoAPI) WemixInfo() (any, error)           { return a.say("admin_wemixInfo") }
func (a etcdGetAPI) EtcdGet(k string) (any, error)       { return a.say("debug_etcdGet", k) }
func (a nodeAddressAPI) NodeAddress() (any, error)       { return a.say("istanbul_nodeAddress") }
func (a coinbaseAPI) Coinbase() (any, error)             { return a.say("eth_coinbase") }
func (a getSignersAPI) GetSigners(n string) (any, error) { return a.say("clique_getSigners", n) }
func (a getSignerAPI) GetSigner(n string) (any, error)   { return a.say("clique_getSigner", n) }
func (a statusAPI) Status(from, to *string) (any, error) {
	return a.say("istanbul_status", given(from, to)...)
}

func (a blockAPI) GetBlockByNumber(n string, full bool) (any, error) {
	return a.say("eth_getBlockByNumber", n, full)
}

func (a wemixNodesAPI) WemixNodes(id string, timeout int) (any, error) {
	return a.say("admin_wemixNodes", id, timeout)
}

func (a getValidatorsAPI) GetValidators(n *string) (any, error) {
	return a.say("istanbul_getValidators", given(n)...)
}

func (a signersAPI) GetSignersFromBlock(n *string) (any, error) {
	return a.say("istanbul_getSignersFromBlock", given(n)...)
}

func (a commitSignersAPI) GetCommitSignersFromBlock(n *string) (any, error) {
	return a.say("istanbul_getCommitSignersFromBlock", given(n)...)
}

// lists writes n validators as JSON has them.
func lists(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("0x%040x", i+1)
	}
	return list
}
