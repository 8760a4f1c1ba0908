package backup

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// What is left of codes must be worth nothing, and what is worth something must
// not be left out.
func TestLiteralsAreCodedWhereThatPays(t *testing.T) {
	t.Parallel()
	chance := rand.New(rand.NewPCG(1, 2))
	filled := func(f func(i int) byte) []byte {
		b := make([]byte, frameSize)
		for i := range b {
			b[i] = f(i)
		}
		return b
	}
	noise := filled(func(int) byte { return byte(chance.Uint32()) })
	digits := filled(func(int) byte { return '0' + byte(chance.Uint32N(10)) })
	hashes := filled(func(i int) byte { return noise[i] * byte(i/32%2) })
	mixed := filled(func(i int) byte { // a tenth of it worth a code, in every block
		if i>>13%10 == 0 {
			return digits[i]
		}
		return hashes[i]
	})
	for _, tc := range []struct {
		name  string
		raw   []byte
		plain bool
	}{
		{"noise", noise, true},
		{"hashes between what repeats", hashes, true},
		{"digits", digits, false},
		{"digits among hashes", mixed, false},
		{"zeros", make([]byte, frameSize), true},
		{"a byte", hashes[:1], true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, err := newFrameEncoder(1)
			if err != nil {
				t.Fatal(err)
			}
			packed := e.encode(tc.raw, nil)
			if plain := e.rest == 0; plain != tc.plain {
				t.Errorf("want plain literals: %v, have %v", tc.plain, plain)
			}
			if coded := e.coded.EncodeAll(tc.raw, nil); float64(len(packed)) > 1.005*float64(len(coded)) {
				t.Errorf("want at most 1.005 times %d bytes, have %d", len(coded), len(packed))
			}
			dec, err := zstd.NewReader(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer dec.Close()
			if raw, err := dec.DecodeAll(packed, nil); err != nil || !bytes.Equal(raw, tc.raw) {
				t.Errorf("want what was encoded, have %d bytes, %v", len(raw), err)
			}
		})
	}
}

func TestLiteralsAreTriedAgain(t *testing.T) {
	t.Parallel()
	e, err := newFrameEncoder(1)
	if err != nil {
		t.Fatal(err)
	}
	chance := rand.New(rand.NewPCG(1, 2))
	raw := make([]byte, 64<<10)
	for i := range raw { // digits, and between them what repeats
		raw[i] = byte('0'+chance.Uint32N(10)) * byte(i/32%2)
	}
	for n := range 2 * (tryPlain + 1) {
		e.encode(raw, nil)
		if want := tryPlain - n%(tryPlain+1); e.rest != want {
			t.Fatalf("after %d frames: want %d more before the next try, have %d", n+1, want, e.rest)
		}
	}
}
