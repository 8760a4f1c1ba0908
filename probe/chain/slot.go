package chain

import (
	"slices"
	"time"
)

// Slot is a stretch of blocks in which one validator alone may be stopped. All
// validators of a network come to the same one without a word between them, from
// the height and the validator set as of the slot's first block.
type Slot struct {
	Length uint64 // blocks
	First  uint64 // height of its first block
	Index  int    // the node's place in the sorted set as of First; -1: it was none
	Of     int    // size of that set
}

// slotUnit rounds the length of slots, so that it seldom changes with the
// number of validators.
const slotUnit = 32

// slotLength is how many blocks a slot has with n validators: room enough for
// one to stop, come back and be seen sealing (it shows within n blocks). The
// downtime must be configured alike in the whole network.
func slotLength(n int, downtime, period time.Duration) uint64 {
	if period <= 0 {
		period = time.Second
	}
	blocks := max(2*uint64(n), uint64((downtime+period-1)/period), 1)
	return (blocks + slotUnit - 1) / slotUnit * slotUnit
}

// slotAt returns the slot of height. set is who sealed as of its first block.
func slotAt(height, length uint64, set []string, self string) Slot {
	sorted := slices.Sorted(slices.Values(set))
	s := Slot{Length: length, First: height - height%length, Index: -1, Of: len(sorted)}
	if i, ok := slices.BinarySearch(sorted, self); ok {
		s.Index = i
	}
	return s
}

// turn reports whether the slot is the node's own.
func (s Slot) turn() bool {
	return s.Index >= 0 && s.Length > 0 && int(s.First/s.Length%uint64(s.Of)) == s.Index
}

// open reports whether the node may go at height: in the first quarter, so that
// it is seen to be away, or back, before the next one's turn.
func (s Slot) open(height uint64) bool {
	return s.turn() && height >= s.First && height-s.First < s.Length/4
}

// Next returns the height at which the node's next turn begins that is not
// over, and false where it can't be told: a validator that was none when this
// slot began.
func (s Slot) Next(height uint64) (uint64, bool) {
	if s.Index < 0 || s.Length == 0 {
		return 0, false
	}
	if s.open(height) {
		return s.First, true
	}
	number, of := s.First/s.Length, uint64(s.Of)
	ahead := (uint64(s.Index) + of - number%of) % of
	if ahead == 0 {
		ahead = of // its own, missed
	}
	return (number + ahead) * s.Length, true
}

// Round returns how long it takes until each validator has had its turn: the
// longest that one waits for its own while nobody is away. Zero: not known.
func (c Consensus) Round() time.Duration {
	return time.Duration(uint64(c.Slot.Of)*c.Slot.Length) * c.period()
}
