// Package load keeps a node busy as users do: with signed transfers, contracts
// that are created, and storage that they write.
package load

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"
)

// Generator sends transactions to a node on a development chain, whose account
// with all the ether is unlocked. Don't forget to Run it.
type Generator struct {
	URL     string // of the node's JSON-RPC
	Senders int    // accounts, each with its own sequence; at least one
	Batch   int    // transactions in flight of each; at least one

	sent atomic.Int64
}

// Sent returns how many transactions the node took.
func (g *Generator) Sent() int64 { return g.sent.Load() }

// Run sends until ctx is done. That the node stops meanwhile, or cuts its chain
// back, is what it is for: it begins anew then.
func (g *Generator) Run(ctx context.Context) error {
	client, err := rpc.DialContext(ctx, g.URL)
	if err != nil {
		return fmt.Errorf("dial node: %w", err)
	}
	defer client.Close()
	var all sync.WaitGroup
	for range max(g.Senders, 1) {
		key, err := crypto.GenerateKey()
		if err != nil {
			return fmt.Errorf("make account: %w", err)
		}
		s := &sender{key: key, address: crypto.PubkeyToAddress(key.PublicKey), node: ethclient.NewClient(client), sent: &g.sent}
		all.Go(func() {
			for ctx.Err() == nil {
				if err := s.batch(ctx, max(g.Batch, 1)); err != nil {
					_ = rest(ctx, time.Second/10) // until it is back
				}
			}
		})
	}
	all.Wait()
	return ctx.Err()
}

// sender is one account.
type sender struct {
	key     *ecdsa.PrivateKey
	address common.Address
	node    *ethclient.Client
	sent    *atomic.Int64
	n       int // transactions made; tells what the next one is
}

// batch sends some transactions and waits until a block has them all.
func (s *sender) batch(ctx context.Context, size int) error {
	chain, err := s.node.ChainID(ctx)
	if err != nil {
		return err
	}
	balance, err := s.node.BalanceAt(ctx, s.address, nil)
	if err != nil {
		return err
	}
	if balance.Cmp(ether(1)) < 0 {
		if err := s.fund(ctx); err != nil {
			return err
		}
	}
	nonce, err := s.node.NonceAt(ctx, s.address, nil)
	if err != nil {
		return err
	}
	for i := range uint64(size) {
		tx, err := types.SignNewTx(s.key, types.LatestSignerForChainID(chain), s.next(chain, nonce+i))
		if err != nil {
			return err
		}
		if err := s.node.SendTransaction(ctx, tx); err != nil {
			return err
		}
		s.sent.Add(1)
	}
	return s.wait(ctx, func() (bool, error) {
		have, err := s.node.NonceAt(ctx, s.address, nil)
		return have >= nonce+uint64(size), err
	})
}

// storing is the code of a contract's creation that writes 64 slots at places
// that a hash tells, as a token's balances are: state that does not compress.
// Calldata-free, so that it is small: the seed is the contract's own address.
var storing = common.FromHex("0x" +
	"30600052" + // the address is the seed
	"6040" + // 64 times:
	"5b" + // at 6
	"602060002080600052" + // the seed is its own hash
	"8055" + // which is stored at its own place
	"600190038060065760006000f3") // until none is left; the code is empty

// next is a transfer to somebody new, mostly; every fourth creates a contract.
func (s *sender) next(chain *big.Int, nonce uint64) *types.DynamicFeeTx {
	s.n++
	tx := &types.DynamicFeeTx{
		ChainID: chain, Nonce: nonce, Gas: 21_000, Value: big.NewInt(1),
		GasTipCap: big.NewInt(1e6), GasFeeCap: big.NewInt(1e11),
	}
	if s.n%4 == 0 {
		tx.Gas, tx.Value, tx.Data = 2_000_000, new(big.Int), storing
		return tx
	}
	to := common.BytesToAddress(crypto.Keccak256(s.address[:], big.NewInt(int64(s.n)).Bytes()))
	tx.To = &to
	return tx
}

// fund takes ether from the chain's own account.
func (s *sender) fund(ctx context.Context) error {
	var rich []common.Address
	if err := s.node.Client().CallContext(ctx, &rich, "eth_accounts"); err != nil {
		return err
	}
	if len(rich) == 0 {
		return errors.New("the node has no account of its own")
	}
	var hash common.Hash
	if err := s.node.Client().CallContext(ctx, &hash, "eth_sendTransaction", map[string]any{
		"from": rich[0], "to": s.address, "value": fmt.Sprintf("%#x", ether(1_000_000)),
	}); err != nil {
		return err
	}
	return s.wait(ctx, func() (bool, error) {
		have, err := s.node.BalanceAt(ctx, s.address, nil)
		return err == nil && have.Cmp(ether(1)) >= 0, err
	})
}

// wait asks until the answer is yes. A transaction that a cut chain has lost never
// comes: then it is an error, and the sender begins anew.
func (s *sender) wait(ctx context.Context, done func() (bool, error)) error {
	for deadline := time.Now().Add(3 * time.Second); ; {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("it was lost")
		}
		if err := rest(ctx, time.Second/20); err != nil {
			return err
		}
	}
}

func ether(n int64) *big.Int { return new(big.Int).Mul(big.NewInt(n), big.NewInt(1e18)) }

func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
