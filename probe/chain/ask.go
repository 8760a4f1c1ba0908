package chain

import (
	"context"
	"time"
)

// Ask questions the node at address once: who it is, and its head. It is for
// people who look from beside a Follower, or where none runs.
func Ask(ctx context.Context, address string) (Facts, error) {
	c, err := NewClient(address)
	if err != nil {
		return Facts{}, err
	}
	defer c.Close()
	began := time.Now()
	id, err := identify(ctx, c)
	if err != nil {
		return Facts{}, err
	}
	now := time.Now()
	f := Facts{
		Client: id.client, Version: id.version, Kind: id.kind,
		ChainID: id.chainID, Genesis: id.genesis,
		FirstAnswer: now, LastAnswer: now, Latency: now.Sub(began),
	}
	var head header
	if err := c.Call(ctx, &head, "eth_getBlockByNumber", "latest", false); err == nil && head.check() == nil {
		f.Head, f.HeadKnown = head.head(now), true // a node may answer without the namespace eth
	}
	return f, nil
}
