package backup

import (
	"math"

	"github.com/klauspost/compress/zstd"
)

// frameEncoder compresses frames.
//
// What a match finder leaves of a node's tables is hashes, most of it, and to give
// those shorter codes is futile and takes a tenth of the time. So at the fastest
// level it goes without as long as that costs next to nothing, which the frame
// itself tells, and else makes the frame again.
type frameEncoder struct {
	coded *zstd.Encoder
	plain *zstd.Encoder // the literals stay as they are; nil: never
	rest  int           // frames until plain is tried again
}

const (
	// codesPay is the share of a frame from which on shorter codes are worth it.
	codesPay = 1. / 400
	// tryPlain is how many frames are coded before the next try, which may be for
	// nothing.
	tryPlain = 31
	// looked says of how many blocks one is looked at.
	looked = 4
)

func newFrameEncoder(level int) (*frameEncoder, error) {
	speed := zstd.EncoderLevelFromZstd(level)
	options := []zstd.EOption{zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true)}
	coded, err := zstd.NewWriter(nil, options...)
	if err != nil || speed != zstd.SpeedFastest { // who asked for more shall have all of it
		return &frameEncoder{coded: coded}, err
	}
	plain, err := zstd.NewWriter(nil, append(options, zstd.WithNoEntropyCompression(true))...)
	return &frameEncoder{coded: coded, plain: plain}, err
}

// encode makes a frame of raw, in the room that into has.
func (e *frameEncoder) encode(raw, into []byte) []byte {
	if e.plain == nil {
		return e.coded.EncodeAll(raw, into[:0])
	}
	if e.rest > 0 {
		e.rest--
		return e.coded.EncodeAll(raw, into[:0])
	}
	packed := e.plain.EncodeAll(raw, into[:0])
	if saving(packed) <= codesPay*float64(len(packed)) {
		return packed
	}
	e.rest = tryPlain
	return e.coded.EncodeAll(raw, packed[:0])
}

// saving estimates how many bytes shorter a frame would be if the literals in it
// were coded, by RFC 8878, 3.1.1: block after block, each with a header of three
// bytes, then, if it is a compressed one, its literals.
func saving(frame []byte) (bytes float64) {
	var head zstd.Header
	if head.Decode(frame) != nil {
		return math.Inf(1)
	}
	rest := frame[head.HeaderSize:]
	for n := 0; len(rest) > 3; n++ {
		block := int(rest[0]) | int(rest[1])<<8 | int(rest[2])<<16
		last, kind, size := block&1, block>>1&3, block>>3
		rest = rest[3:]
		if kind == 1 { // one byte, many times
			size = 1
		}
		if size > len(rest) {
			return math.Inf(1)
		}
		if kind == 2 && n%looked == 0 {
			bytes += looked * savingOf(literals(rest[:size]))
		}
		if rest = rest[size:]; last == 1 {
			break
		}
	}
	return bytes
}

// literals returns those of a compressed block that has them as they are.
func literals(block []byte) []byte {
	if len(block) < 3 || block[0]&3 != 0 {
		return nil
	}
	size, head := int(block[0]>>3), 1
	switch block[0] >> 2 & 3 {
	case 1:
		size, head = int(block[0]>>4)|int(block[1])<<4, 2
	case 3:
		size, head = int(block[0]>>4)|int(block[1])<<4|int(block[2])<<12, 3
	}
	return block[head:min(head+size, len(block))]
}

// savingOf looks at a sample of the literals, the middle.
func savingOf(literals []byte) float64 {
	const most = 4 << 10
	n := min(len(literals), most)
	if n < most/16 { // no codes for so few
		return 0
	}
	var count [256]int
	from := (len(literals) - n) / 2
	for _, b := range literals[from : from+n] {
		count[b]++
	}
	// Even of dice some numbers come up more often: that many bits, on average.
	bits := 255 / (2 * float64(n) * math.Ln2)
	for _, c := range count {
		if c > 0 {
			p := float64(c) / float64(n)
			bits -= p * math.Log2(p)
		}
	}
	return max(0, 1-bits/8) * float64(len(literals))
}
