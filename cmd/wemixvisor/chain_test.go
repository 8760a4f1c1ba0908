package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// chainRPC answers for a node whose chain the test decides about.
type chainRPC struct {
	url    string
	age    atomic.Int64 // of the head, seconds
	lag    atomic.Int64
	silent atomic.Bool
	halt   atomic.Int64 // the height it stands at; 0: it moves

	// signers of a chain by proof of authority, of whom the node is the first and
	// so many of the others seal in turn with it; none: it has no consensus.
	signers []string
	others  atomic.Int64
}

func newChainRPC(t *testing.T) *chainRPC {
	t.Helper()
	c := &chainRPC{}
	began := time.Now()
	one := func(method string, params []any) any {
		height := 1000 + time.Since(began).Milliseconds()/500
		if halt := c.halt.Load(); halt > 0 {
			height = halt
		}
		if len(params) > 0 {
			if asked, err := strconv.ParseInt(fmt.Sprint(params[0]), 0, 64); err == nil {
				height = asked
			}
		}
		hash := func(height int64) string { return fmt.Sprintf("0x%064x", height) }
		sealer := height % (c.others.Load() + 1)
		block := map[string]any{
			"number": fmt.Sprintf("%#x", height), "hash": hash(height), "parentHash": hash(height - 1),
			"timestamp": fmt.Sprintf("%#x", time.Now().Unix()-c.age.Load()),
			"extraData": fmt.Sprintf("0x%x", fmt.Sprintf("geth/v1.16.%d/linux", 9-sealer)),
		}
		if c.signers != nil {
			switch method {
			case "rpc_modules":
				return map[string]string{"eth": "1.0", "net": "1.0", "web3": "1.0", "admin": "1.0", "clique": "1.0"}
			case "clique_getSigners":
				return c.signers
			case "clique_getSigner":
				return c.signers[sealer]
			case "clique_status":
				return map[string]any{}
			case "eth_coinbase":
				return c.signers[0]
			case "admin_nodeInfo":
				return json.RawMessage(`{"protocols":{"eth":{"config":{"pragueBlock":5000,"clique":{"period":1,"epoch":30000}}}}}`)
			}
		}
		switch method {
		case "web3_clientVersion":
			return "Geth/v1.16.9-stable/linux-amd64/go1.26"
		case "eth_chainId":
			return "0x1"
		case "rpc_modules":
			return map[string]string{"eth": "1.0", "net": "1.0", "web3": "1.0"}
		case "eth_getBlockByNumber", "eth_getHeaderByNumber":
			return block
		case "eth_syncing":
			if lag := c.lag.Load(); lag > 0 {
				return map[string]string{"highestBlock": fmt.Sprintf("%#x", height+lag)}
			}
			return false
		case "net_peerCount":
			return "0x2"
		case "net_listening":
			return true
		}
		return nil
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.silent.Load() {
			panic(http.ErrAbortHandler)
		}
		type question struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params []any           `json:"params"`
		}
		type reply struct {
			Version string          `json:"jsonrpc"`
			ID      json.RawMessage `json:"id"`
			Result  any             `json:"result"`
		}
		var raw json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&raw)
		w.Header().Set("Content-Type", "application/json")
		var many []question
		if json.Unmarshal(raw, &many) == nil {
			replies := []reply{}
			for _, q := range many {
				replies = append(replies, reply{"2.0", q.ID, one(q.Method, q.Params)})
			}
			_ = json.NewEncoder(w).Encode(replies)
			return
		}
		var q question
		_ = json.Unmarshal(raw, &q)
		_ = json.NewEncoder(w).Encode(reply{"2.0", q.ID, one(q.Method, q.Params)})
	}))
	t.Cleanup(srv.Close)
	c.url = srv.URL
	return c
}
