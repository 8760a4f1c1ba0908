package governance

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/big"

	"github.com/ethereum/go-ethereum/crypto/keccak"
)

// What little of the contract ABI is spoken here is written out: go-ethereum's
// package for it brings elliptic curves along.

// word is what everything in the ABI consists of.
type word [32]byte

// errAnswer says that a contract's answer is not of the form we know.
var errAnswer = errors.New("answer of another form; is it another contract?")

// hash is what names events, and in its first four bytes functions.
func hash(signature string) word {
	var w word
	h := keccak.NewLegacyKeccak256()
	h.Write([]byte(signature))
	h.Sum(w[:0])
	return w
}

// call encodes the call of a function with arguments of a word each.
func call(signature string, args ...word) string {
	selector := hash(signature)
	data := selector[:4]
	for _, a := range args {
		data = append(data, a[:]...)
	}
	return "0x" + hex.EncodeToString(data)
}

func (w word) String() string { return "0x" + hex.EncodeToString(w[:]) }

// text is a word that begins with s: how bytes32 holds a name.
func text(s string) (w word) {
	copy(w[:], s)
	return w
}

func (w word) isZero() bool { return w == word{} }

// small returns a number that fits, or false.
func (w word) small() (uint64, bool) {
	if [24]byte(w[:24]) != [24]byte{} {
		return 0, false
	}
	return binary.BigEndian.Uint64(w[24:]), true
}

// address returns the last twenty bytes.
func (w word) address() string { return "0x" + hex.EncodeToString(w[12:]) }

// decimal is how people write a number of any size.
func (w word) decimal() string { return new(big.Int).SetBytes(w[:]).String() }

// number reads a decimal as it was written by decimal.
func number(decimal string) (w word, ok bool) {
	n, ok := new(big.Int).SetString(decimal, 10)
	if !ok || n.Sign() < 0 || n.BitLen() > 256 {
		return w, false
	}
	n.FillBytes(w[:])
	return w, true
}

// tuple is the answer of a function.
type tuple []byte

// word returns the i-th word of the head.
func (t tuple) word(i int) (w word, err error) {
	if len(t) < 32*(i+1) {
		return w, errAnswer
	}
	return word(t[32*i:]), nil
}

// small returns the i-th value, which is a number that fits.
func (t tuple) small(i int) (uint64, error) {
	w, err := t.word(i)
	if err != nil {
		return 0, err
	}
	n, ok := w.small()
	if !ok {
		return 0, errAnswer
	}
	return n, nil
}

// truth returns the i-th value, a bool.
func (t tuple) truth(i int) (bool, error) {
	n, err := t.small(i)
	if err == nil && n > 1 {
		err = errAnswer
	}
	return n == 1, err
}

// bytes returns the i-th value, which lies behind the head.
func (t tuple) bytes(i int) ([]byte, error) {
	at, err := t.small(i)
	if err != nil {
		return nil, err
	}
	size := uint64(len(t))
	if at > size || size-at < 32 {
		return nil, errAnswer
	}
	n, ok := word(t[at:]).small()
	if !ok || n > size-at-32 {
		return nil, errAnswer
	}
	return t[at+32 : at+32+n], nil
}
