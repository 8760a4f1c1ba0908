package governance

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/wemix/wemixvisor/probe/chain"
)

// ballot is a finalised one as the contract tells it.
type ballot struct {
	kind      uint64 // 0: the contract knows no types
	creator   string
	state     uint64
	finalized bool
	memo      []byte
}

// ballot reads one as of a block, and the hash that block of has now.
func (s source) ballot(ctx context.Context, c client, contract, id string, as, of uint64) (ballot, string, error) {
	n, ok := number(id)
	if !ok {
		return ballot{}, "", fmt.Errorf("%q is no number of a ballot", id)
	}
	signature := "proposal(uint256)"
	if s.kind == SourceWemix {
		signature = "getBallotBasic(uint256)"
	}
	var (
		answer hexutil.Bytes
		head   *header
	)
	if err := c.ask(ctx, []chain.Request{
		{Method: "eth_call", Result: &answer, Args: []any{ethCall(contract, call(signature, n)), at(&as)}},
		{Method: "eth_getBlockByNumber", Result: &head, Args: []any{at(&of), false}},
	}); err != nil {
		return ballot{}, "", err
	}
	if head == nil {
		return ballot{}, "", fmt.Errorf("block %d is not there", of)
	}
	b, err := s.decodeBallot(tuple(answer))
	if err != nil {
		return ballot{}, "", fmt.Errorf("ballot %s: %w", id, err)
	}
	return b, strings.ToLower(head.Hash), nil
}

// places are where in a contract's answer a ballot's values stand.
type places struct{ state, finalized, memo int }

func (s source) decodeBallot(t tuple) (b ballot, err error) {
	at := places{state: 0, finalized: 1, memo: 2}
	var errs [5]error
	if s.kind == SourceWemix {
		at = places{state: 8, finalized: 9, memo: 4}
		b.kind, errs[0] = t.small(2)
		var creator word
		creator, errs[1] = t.word(3)
		b.creator = creator.address()
	}
	b.state, errs[2] = t.small(at.state)
	b.finalized, errs[3] = t.truth(at.finalized)
	b.memo, errs[4] = t.bytes(at.memo)
	return b, errors.Join(errs[:]...)
}
