package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

// identity is who the node says it is.
type identity struct {
	client, version, kind string
	chainID               uint64
	genesis               string
	modules               map[string]string
}

func (id identity) offers(namespace string) bool {
	_, ok := id.modules[namespace]
	return ok
}

// identify asks the node who it is. What it does not tell stays empty: only a
// node that tells nothing at all is an error.
func identify(ctx context.Context, c *Client) (identity, error) {
	var (
		id      identity
		name    string
		chainID hexutil.Uint64
		genesis header
	)
	reqs := []Request{
		{Method: "web3_clientVersion", Result: &name},
		{Method: "rpc_modules", Result: &id.modules},
		{Method: "eth_chainId", Result: &chainID},
		{Method: "eth_getBlockByNumber", Args: []any{"0x0", false}, Result: &genesis},
	}
	if err := c.Batch(ctx, reqs); err != nil {
		return identity{}, err
	}
	id.client, id.version = splitVersion(name)
	id.kind = kindOf(name, id.modules)
	id.chainID, id.genesis = uint64(chainID), genesis.Hash
	return id, nil
}

// splitVersion takes "Geth/v1.16.9-stable-…/linux-amd64/go1.26" apart.
func splitVersion(name string) (client, version string) {
	client, rest, _ := strings.Cut(oneLine(errors.New(name)), "/")
	version, _, _ = strings.Cut(rest, "/")
	return strings.ToLower(client), version
}

// kindOf chooses the adapter. The namespaces offered at our address may be
// fewer than the node has (over HTTP often only net and web3), so their absence
// proves less than the name.
func kindOf(name string, modules map[string]string) string {
	client, version := splitVersion(name)
	_, istanbul := modules["istanbul"]
	switch {
	case strings.Contains(name, "quorum"):
		return QBFT
	case istanbul, client == "gstable":
		return WBFT
	case client == "gwemix" && strings.HasPrefix(version, "v0."):
		return Wemix // go-wbft's newer binaries bear the same name, with a later version
	case client == "gwemix":
		return WBFT
	}
	return Geth
}

// differs says how the chain is another one than it was; empty when it is not.
// A node that does not tell is given the benefit of the doubt.
func (id identity) differs(f Facts) string {
	var what []string
	if f.ChainID != 0 && id.chainID != 0 && f.ChainID != id.chainID {
		what = append(what, fmt.Sprintf("chain id %d was %d", id.chainID, f.ChainID))
	}
	if f.Genesis != "" && id.genesis != "" && f.Genesis != id.genesis {
		what = append(what, fmt.Sprintf("genesis %s was %s", id.genesis, f.Genesis))
	}
	return strings.Join(what, ", ")
}

// header is the little of a block that we need. Not go-ethereum's own: it
// refuses headers of chains whose fields differ, as those of go-wemix do.
type header struct {
	Number    hexutil.Uint64 `json:"number"`
	Timestamp hexutil.Uint64 `json:"timestamp"`
	Hash      string         `json:"hash"`
}

func (h header) head(now time.Time) Head {
	return Head{Number: uint64(h.Number), Hash: h.Hash, Time: time.Unix(int64(h.Timestamp), 0), Seen: now}
}

// check refuses what can't be a block: the rest of the program trusts it.
func (h header) check() error {
	if len(h.Hash) != 66 || !strings.HasPrefix(h.Hash, "0x") {
		return errors.New("a block without a hash")
	}
	if h.Timestamp > 1<<40 {
		return errors.New("a block from beyond all time")
	}
	return nil
}
