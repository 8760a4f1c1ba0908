package governance

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/wemix/wemixvisor/probe/chain"
)

// Sources of ballots.
const (
	SourceWemix    = "wemix"
	SourceContract = "contract"
)

// DefaultEvent is the name of the event of [SourceContract].
const DefaultEvent = "ProposalFinalized"

// States of a ballot on the chain.
const (
	accepted  = 3
	rejected  = 4
	cancelled = 5
)

// execute is the type of go-wemix's ballots that may carry a plan.
const execute = 6

const maxLogs = 10000 // of one range of blocks

// source knows how ballots are written.
type source struct {
	kind      string
	created   word // event; zero: there is none
	finalized word // event
}

func sourceOf(kind, event string) source {
	if kind == SourceWemix {
		return source{kind, hash("BallotCreated(uint256,uint256,address)"), hash("BallotFinalized(uint256,uint256)")}
	}
	return source{kind: kind, finalized: hash(event + "(uint256,uint256)")}
}

// CheckAddress reports what is wrong with a contract's address.
func CheckAddress(s string) error {
	if b, err := hexutil.Decode(s); err != nil || len(b) != 20 {
		return fmt.Errorf("%q is no address: want 0x and 40 hex digits", s)
	}
	return nil
}

// CheckEvent reports what is wrong with an event's name.
func CheckEvent(s string) error {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || r == '$'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return fmt.Errorf("%q is no name of an event: its parameters are uint256,uint256 and are not written", s)
		}
	}
	if s == "" {
		return errors.New("an event needs a name")
	}
	return nil
}

// resolve returns the contract that emits the events.
func (s source) resolve(ctx context.Context, c client, configured string) (string, error) {
	contract := strings.ToLower(configured)
	if s.kind == SourceWemix {
		registry := contract
		if registry == "" {
			var info struct{ Registry string }
			if err := c.Call(ctx, &info, "admin_wemixInfo"); err != nil {
				return "", err // it crashes while there is no governance
			}
			registry = info.Registry
		}
		if CheckAddress(registry) != nil {
			return "", errors.New("the node names no registry: is governance deployed?")
		}
		if err := c.deployed(ctx, registry); err != nil {
			return "", fmt.Errorf("registry: %w", err)
		}
		var answer hexutil.Bytes
		if err := c.Call(ctx, &answer, "eth_call", ethCall(registry, call("getContractAddress(bytes32)", text("BallotStorage"))), "latest"); err != nil {
			return "", err
		}
		w, err := tuple(answer).word(0)
		if err != nil {
			return "", fmt.Errorf("registry %s: %w", registry, err)
		}
		if w.isZero() {
			return "", fmt.Errorf("registry %s names no BallotStorage", registry)
		}
		contract = w.address()
	}
	return contract, c.deployed(ctx, contract)
}

// entry is one event.
type entry struct {
	id      string
	state   uint64 // 0: created
	kind    uint64
	creator string
	block   block
}

// scan returns the events of the blocks from first to last, in their order, and
// the last one's hash.
func (s source) scan(ctx context.Context, c client, contract string, first, last uint64) ([]entry, block, error) {
	var (
		logs []log
		head *header
	)
	topics := []string{s.finalized.String()}
	if !s.created.isZero() {
		topics = append(topics, s.created.String())
	}
	reqs := []chain.Request{
		{Method: "eth_getLogs", Result: &logs, Args: []any{map[string]any{
			"fromBlock": at(&first), "toBlock": at(&last), "address": contract, "topics": []any{topics},
		}}},
		{Method: "eth_getBlockByNumber", Result: &head, Args: []any{at(&last), false}},
	}
	if err := c.ask(ctx, reqs); err != nil {
		return nil, block{}, err
	}
	if head == nil || uint64(head.Number) != last || !isHash(head.Hash) {
		return nil, block{}, fmt.Errorf("block %d is not there", last)
	}
	if len(logs) > maxLogs {
		return nil, block{}, fmt.Errorf("%d events in the blocks from %d to %d; at most %d are understood", len(logs), first, last, maxLogs)
	}
	var entries []entry
	for _, l := range logs {
		if l.Removed || !strings.EqualFold(l.Address, contract) {
			continue
		}
		if n := uint64(l.Number); n < first || n > last || !isHash(l.BlockHash) {
			return nil, block{}, fmt.Errorf("an event of block %d, which was not asked for", n)
		}
		if e, ok := s.decode(l); ok {
			entries = append(entries, e)
		}
	}
	return entries, block{last, strings.ToLower(head.Hash)}, nil
}

// decode reads an event; one of another form is none of ours.
func (s source) decode(l log) (entry, bool) {
	topics := make([]word, len(l.Topics))
	for i, t := range l.Topics {
		b, err := hexutil.Decode(t)
		if err != nil || len(b) != 32 {
			return entry{}, false
		}
		topics[i] = word(b)
	}
	e := entry{block: block{uint64(l.Number), strings.ToLower(l.BlockHash)}}
	switch {
	case len(topics) == 2 && topics[0] == s.finalized:
		state, err := tuple(l.Data).word(0)
		if err != nil {
			return entry{}, false
		}
		n, ok := state.small()
		if !ok || n == 0 {
			n = 1 << 32 // none that is known
		}
		e.state = n
	case len(topics) == 4 && topics[0] == s.created:
		e.kind, _ = topics[2].small()
		e.creator = topics[3].address()
	default:
		return entry{}, false
	}
	e.id = topics[1].decimal()
	return e, true
}
