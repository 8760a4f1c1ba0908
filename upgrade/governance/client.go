package governance

import (
	"context"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/wemix/wemixvisor/probe/chain"
)

// client is where the node is asked.
type client struct{ *chain.Client }

// at names a block; latest without one.
func at(number *uint64) string {
	if number == nil {
		return "latest"
	}
	return hexutil.EncodeUint64(*number)
}

func ethCall(to, data string) map[string]string { return map[string]string{"to": to, "data": data} }

// log is how the node writes one.
type log struct {
	Address   string         `json:"address"`
	Topics    []string       `json:"topics"`
	Data      hexutil.Bytes  `json:"data"`
	Number    hexutil.Uint64 `json:"blockNumber"`
	BlockHash string         `json:"blockHash"`
	Removed   bool           `json:"removed"`
}

// header is the little of a block that matters.
type header struct {
	Number hexutil.Uint64 `json:"number"`
	Hash   string         `json:"hash"`
}

// deployed makes sure that there is a contract: an address without one would be
// silent for ever.
func (c client) deployed(ctx context.Context, address string) error {
	var code hexutil.Bytes
	if err := c.Call(ctx, &code, "eth_getCode", address, "latest"); err != nil {
		return err
	}
	if len(code) == 0 {
		return fmt.Errorf("no contract at %s", address)
	}
	return nil
}

// ask sends several questions in one message, all of which must be answered.
func (c client) ask(ctx context.Context, reqs []chain.Request) error {
	if err := c.Batch(ctx, reqs); err != nil {
		return err
	}
	for _, r := range reqs {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// hashOf returns what block number is now.
func (c client) hashOf(ctx context.Context, number uint64) (string, error) {
	var head *header
	if err := c.Call(ctx, &head, "eth_getBlockByNumber", at(&number), false); err != nil {
		return "", err
	}
	if head == nil || !isHash(head.Hash) {
		return "", fmt.Errorf("block %d is not there", number)
	}
	return strings.ToLower(head.Hash), nil
}

func isHash(s string) bool {
	b, err := hexutil.Decode(s)
	return err == nil && len(b) == 32
}
