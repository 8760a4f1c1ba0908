package chain

import (
	"encoding/json"
	"slices"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

// best returns how far the node's peers say they are, 0 when they don't say:
// the highest of a go-wemix network's own members, and the median of others.
// A stranger may claim any height; half of all peers rarely lie the same way.
func best(kind string, answer json.RawMessage) uint64 {
	if kind == Wemix {
		var nodes []struct {
			Height uint64 `json:"latestBlockHeight"`
		}
		if json.Unmarshal(answer, &nodes) != nil {
			return 0
		}
		var highest uint64
		for _, n := range nodes {
			highest = max(highest, n.Height)
		}
		return highest
	}
	var peers []struct {
		Protocols map[string]json.RawMessage `json:"protocols"`
	}
	if json.Unmarshal(answer, &peers) != nil {
		return 0
	}
	var heights []uint64
	for _, p := range peers {
		var eth struct {
			Latest uint64 `json:"latestBlock"` // told since eth/69
		}
		if json.Unmarshal(p.Protocols["eth"], &eth) == nil && eth.Latest > 0 {
			heights = append(heights, eth.Latest)
		}
	}
	if len(heights) == 0 {
		return 0
	}
	slices.Sort(heights)
	return heights[(len(heights)-1)/2]
}

// syncing decodes eth_syncing: false, or an object with the highest block.
func syncing(answer json.RawMessage) (is bool, highest uint64) {
	var progress struct {
		Highest hexutil.Uint64 `json:"highestBlock"`
	}
	if len(answer) == 0 || answer[0] != '{' {
		return false, 0
	}
	if json.Unmarshal(answer, &progress) != nil {
		return true, 0
	}
	return true, uint64(progress.Highest)
}
