package governance

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/wemix/wemixvisor/probe/chain"
)

// recording is go-ethereum's own RPC server that answers as a recorded go-wemix
// node did. It was asked as of its latest block then; now of others, which said
// the same.
type recording struct {
	t      *testing.T
	info   json.RawMessage // admin_wemixInfo
	infoNo *refusal
	calls  map[string]hexutil.Bytes // by contract and input
	logs   []log
	head   atomic.Uint64
	forked atomic.Bool // another chain from forkedAt on, without the ballot
	asked  atomic.Int64
}

type refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (r *refusal) Error() string  { return r.Message }
func (r *refusal) ErrorCode() int { return r.Code }

func record(t *testing.T, file string) *recording {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../probe/chain/testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var said []struct {
		Method string
		Params []json.RawMessage
		Result json.RawMessage
		Error  *refusal
	}
	if err := json.Unmarshal(data, &said); err != nil {
		t.Fatal(err)
	}
	r := &recording{t: t, calls: map[string]hexutil.Bytes{}}
	must := func(data []byte, to any) {
		if err := json.Unmarshal(data, to); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range said {
		switch e.Method {
		case "admin_wemixInfo":
			r.info, r.infoNo = e.Result, e.Error
		case "eth_blockNumber":
			var head hexutil.Uint64
			must(e.Result, &head)
			r.head.Store(uint64(head))
		case "eth_call":
			var msg struct{ To, Data string }
			var answer hexutil.Bytes
			must(e.Params[0], &msg)
			must(e.Result, &answer)
			r.calls[msg.To+msg.Data] = answer
		case "eth_getLogs":
			if r.logs == nil {
				must(e.Result, &r.logs)
			}
		}
	}
	return r
}

// serve answers at the URL it returns, without the namespaces that are left out.
func (r *recording) serve(without ...string) string {
	server := rpc.NewServer()
	for name, api := range map[string]any{"eth": ethAPI{r}, "admin": adminAPI{r}, "web3": web3API{r}} {
		if !slices.Contains(without, name) {
			if err := server.RegisterName(name, api); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	srv := httptest.NewServer(server)
	r.t.Cleanup(func() { srv.Close(); server.Stop() })
	return srv.URL
}

// hash is that of a block: recorded where an event tells it.
func (r *recording) hash(n uint64) string {
	if r.forked.Load() && n >= forkedAt {
		return fmt.Sprintf("0xff%062x", n)
	}
	for _, l := range r.logs {
		if uint64(l.Number) == n {
			return l.BlockHash
		}
	}
	return fmt.Sprintf("0x%064x", n)
}

type (
	ethAPI   struct{ r *recording }
	adminAPI struct{ r *recording }
	web3API  struct{ r *recording }
)

func (a web3API) ClientVersion() string {
	return "Gwemix/v0.10.9-stable-6eda207f/linux-amd64/go1.26.8"
}

func (a adminAPI) WemixInfo() (json.RawMessage, error) {
	a.r.asked.Add(1)
	if a.r.infoNo != nil {
		return nil, a.r.infoNo
	}
	return a.r.info, nil
}

func (a ethAPI) BlockNumber() hexutil.Uint64 { return hexutil.Uint64(a.r.head.Load()) }

func (a ethAPI) GetCode(string, string) hexutil.Bytes { return hexutil.Bytes{0xfe} }

func (a ethAPI) Call(msg struct{ To, Data string }, block string) (hexutil.Bytes, error) {
	answer, ok := a.r.calls[msg.To+msg.Data]
	if !ok {
		return nil, &refusal{3, "execution reverted"}
	}
	return answer, nil
}

func (a ethAPI) GetBlockByNumber(block hexutil.Uint64, full bool) *header {
	if uint64(block) > a.r.head.Load() {
		return nil
	}
	return &header{block, a.r.hash(uint64(block))}
}

func (a ethAPI) GetLogs(q struct {
	FromBlock, ToBlock hexutil.Uint64
	Address            string
	Topics             [][]string
},
) []log {
	logs := []log{}
	for _, l := range a.r.logs {
		if a.r.forked.Load() && uint64(l.Number) >= forkedAt {
			continue
		}
		if l.Number >= q.FromBlock && l.Number <= q.ToBlock && strings.EqualFold(l.Address, q.Address) && slices.Contains(q.Topics[0], l.Topics[0]) {
			logs = append(logs, l)
		}
	}
	return logs
}

// recordedConfig is that of a Watcher of the recorded node, whose process began
// at began.
func recordedConfig(url string, began *atomic.Pointer[time.Time]) Config {
	return Config{Source: SourceWemix, Confirmations: 1, RPC: url, Facts: func() chain.Facts {
		at := *began.Load()
		return chain.Facts{Started: at, FirstAnswer: at, ChainID: 31111, Genesis: "0x1", Client: "gwemix"}
	}}
}

// forkedAt is between the ballot's creation and its end.
const forkedAt = 154

// mend gives the recorded memo a checksum.
func (r *recording) mend() {
	r.calls["0x8116408b5bcb0cab102b74d16eab20d08b48c1c5"+call("getBallotBasic(uint256)", num(1))] = basic(6, 3, true,
		`{"name":"v0.10.10","height":500,"info":"sha256:`+sum+`"}`)
}

func since(at time.Time) *atomic.Pointer[time.Time] {
	var p atomic.Pointer[time.Time]
	p.Store(&at)
	return &p
}

// TestRecordedBallot replays the ballot of a real go-wemix network. Its memo has
// the form of a plan, and no real checksum.
func TestRecordedBallot(t *testing.T) {
	r := record(t, "wemix-spoa-governed.json")
	v := watching(t, home(t), recordedConfig(r.serve(), since(time.Now())))
	p := v.becomes("1", Ignored)
	if p.Reason != `bad plan: sha256 "sha256:...": want 64 hex digits` || p.Type != 6 || p.Creator != "0xd8cfd1aee5953424f7af619447881ce51099e069" ||
		p.Created != 153 || p.Block != 155 || p.Memo != `{"name":"v0.10.10","height":500,"info":"sha256:..."}` {
		t.Errorf("have %+v", p)
	}
	if have := v.Status().Contract; have != "0x8116408b5bcb0cab102b74d16eab20d08b48c1c5" {
		t.Errorf("have contract %s", have)
	}
	if want, have := "open passed ignored", v.told("1"); want != have {
		t.Errorf("want %s, have %s", want, have)
	}

	r.mend()
	v = watching(t, home(t), recordedConfig(r.serve(), since(time.Now())))
	v.becomes("1", Scheduled)
	if want, have := "v0.10.10@500 by governance", v.queued(); want != have {
		t.Errorf("want %s, have %s", want, have)
	}
}

func TestBeforeGovernanceIsDeployed(t *testing.T) {
	r := record(t, "wemix-spoa-before-governance.json")
	v := watching(t, home(t), recordedConfig(r.serve(), since(time.Now())))
	eventually(t, "it waits", func() bool {
		s := v.Status()
		return s.State == Unavailable && strings.Contains(s.Reason, "method handler crashed")
	}, v)
	eventually(t, "it is told", func() bool { return strings.Contains(v.log(), "not visible; trying on") }, v)
	asked := r.asked.Load()
	eventually(t, "it asks on", func() bool { return r.asked.Load() > asked+2 }, v)
	if have := strings.Count(v.log(), "\n"); have != 1 {
		t.Errorf("want one line, have\n%s", v.log())
	}
}

// TestMethodsThatAreNotOffered: one line, and peace until another process runs.
func TestMethodsThatAreNotOffered(t *testing.T) {
	r := record(t, "wemix-spoa-governed.json")
	for _, missing := range []string{"admin", "eth"} {
		t.Run(missing, func(t *testing.T) {
			began := since(time.Now())
			v := watching(t, home(t), recordedConfig(r.serve(missing), began))
			off := func() bool { return v.Status().State == NotOffered }
			eventually(t, "it is off", off, v)
			asked := r.asked.Load()
			for end := time.Now().Add(10 * v.cfg.Interval); time.Now().Before(end); {
				if !off() {
					t.Fatal("want it to stay off")
				}
				time.Sleep(time.Millisecond)
			}
			if have := r.asked.Load(); have != asked {
				t.Errorf("want no more questions, have %d", have-asked)
			}
			if have := strings.Count(v.log(), "\n"); have != 1 || !strings.Contains(v.log(), "method not offered") {
				t.Errorf("want one line, have\n%s", v.log())
			}
			next := time.Now()
			began.Store(&next)
			eventually(t, "another process is asked", func() bool { return strings.Count(v.log(), "\n") == 2 }, v)
		})
	}
}
