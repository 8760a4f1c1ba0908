package chain

import (
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/rlp"
)

// vanity returns the version of the binary that made a block, from the block's
// extra data; empty where its proposer wrote something of its own. It is what
// istanbul_getWbftExtraInfo prints as vanityData, without the further question.
//
// geth and clique put an RLP list there: version number, client, Go, system.
// WBFT and QBFT put the same, filled up to 32 bytes, before what is theirs in an
// RLP list. go-wemix writes gwemix/v0.10.9/linux/go1.26.8.
func vanity(extra []byte) string {
	if fields := strings.Split(string(extra[:min(len(extra), 256)]), "/"); len(fields) > 2 && plainVersion(fields[1]) {
		return fields[1]
	}
	list, _, err := rlp.SplitList(extra)
	if err != nil {
		return ""
	}
	first, _, err := rlp.SplitString(list)
	if err != nil {
		return ""
	}
	if len(first) == 32 {
		if list, _, err = rlp.SplitList(first); err != nil {
			return ""
		}
		if first, _, err = rlp.SplitString(list); err != nil {
			return ""
		}
	}
	if len(first) == 0 || len(first) > 4 {
		return ""
	}
	var number uint32
	for _, b := range first {
		number = number<<8 | uint32(b)
	}
	return fmt.Sprintf("v%d.%d.%d", number>>16, number>>8&0xff, number&0xff)
}

func plainVersion(s string) bool {
	if len(s) < 2 || len(s) > 32 || s[0] != 'v' || s[1] < '0' || s[1] > '9' {
		return false
	}
	return strings.Trim(s[1:], "0123456789abcdefghijklmnopqrstuvwxyz.-+") == ""
}

// qbftRound returns the round a QBFT block was agreed on in. Its extra data is
// the list of vanity, validators, vote, round and seals.
func qbftRound(extra []byte) (uint64, bool) {
	list, _, err := rlp.SplitList(extra)
	for range 3 {
		if err != nil {
			return 0, false
		}
		_, _, list, err = rlp.Split(list)
	}
	if err != nil {
		return 0, false
	}
	round, _, err := rlp.SplitUint64(list)
	return round, err == nil
}
