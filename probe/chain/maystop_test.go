package chain

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var noon = time.Unix(1_800_000_000, 0)

// network is a view of n validators, v0 first, at a fresh head in a slot that is
// the node's own.
func network(kind string, n int, change ...func(*Consensus)) Consensus {
	c := Consensus{
		Started: noon.Add(-time.Hour), Known: true, Asked: noon, Kind: kind, BlockPeriod: time.Second,
		Head:   Head{Number: 64 * 1000 * uint64(n), Hash: hash(1), Time: noon.Add(-time.Second), Seen: noon},
		Quorum: quorum(kind, n), Window: n,
		Slot: Slot{Length: 64, First: 64 * 1000 * uint64(n), Index: 0, Of: n},
	}
	for i := range n {
		c.Validators = append(c.Validators, Validator{
			Address: fmt.Sprintf("0x%040x", i), Self: i == 0, Active: true, Sealed: 1, LastActive: c.Head.Number,
		})
	}
	if kind == Wemix {
		c.Producer = &Producer{Name: "w0", Token: "w1", TokenTill: noon.Add(10 * time.Second), Leader: "w1", UpKnown: true}
		for i := range n {
			c.Producer.Members = append(c.Producer.Members, Member{Name: fmt.Sprintf("w%d", i), Self: i == 0, Up: true})
			c.Validators[i].Name = fmt.Sprintf("w%d", i)
		}
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

// gone has a validator away since that many blocks.
func gone(who int, blocks uint64) func(*Consensus) {
	return func(c *Consensus) {
		v := &c.Validators[who]
		v.Active, v.Sealed, v.LastActive = false, 0, 0
		if blocks > 0 {
			v.LastActive = c.Head.Number - blocks
		}
		if c.Producer != nil {
			c.Producer.Members[who].Up = false
		}
	}
}

func TestMayStop(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		c      Consensus
		want   bool
		reason string // part of it; empty: none
	}{
		{"all is well", network(WBFT, 4), true, ""},
		{"clique too", network(Clique, 4), true, ""},
		{"one of three signers", network(Clique, 3), true, ""},
		{"one of four down for long", network(WBFT, 4, gone(2, 0)), false, "only 3 of 4 validators seal and the quorum is 3: without this one it is 2"},
		{"one of four signers down", network(Clique, 4, gone(2, 0)), false, "only 3 of 4 validators seal and the quorum is 3: without this one it is 2"},
		{"one of seven down for long", network(WBFT, 7, gone(2, 0)), true, ""},
		{"one of seven away at this moment", network(WBFT, 7, gone(2, 10)), false, "validator 0x0000000000000000000000000000000000000002 sealed before and does not now"},
		{"two of seven away at this moment", network(QBFT, 10, gone(2, 10), gone(3, 20)), false, "does not now, nor do 1 others"},
		{"one of seven away for as long as all turns take", network(WBFT, 7, gone(2, 7*64)), false, "sealed before"},
		{"one of seven away for longer", network(WBFT, 7, gone(2, 7*64+1)), true, ""},
		{"the node itself seals no more", network(WBFT, 4, gone(0, 10)), true, ""},
		{"two of three down: only one round-robin left", network(Clique, 5, gone(1, 0), gone(2, 0)), false, "only 3 of 5 validators seal and the quorum is 3: without this one it is 2"},

		{"alone", network(WBFT, 1), true, "the chain stands while the node is down: of 1 validator none can be spared"},
		{"one of three, where none can be spared", network(WBFT, 3), true, "of 3 validators none can be spared"},
		{"but not while another is away", network(WBFT, 3, gone(1, 0)), false, "only 2 of 3"},
		{"nor out of turn", network(WBFT, 3, func(c *Consensus) { c.Slot.Index = 1 }), false, "its turn comes at block"},

		{"late blocks", network(WBFT, 4, func(c *Consensus) { c.Late = 2 }), false, "first round"},
		{"one late block of four is chance", network(WBFT, 4, func(c *Consensus) { c.Late, c.MaxRound = 1, 1 }), true, ""},
		{"a very late block", network(WBFT, 4, func(c *Consensus) { c.Late, c.MaxRound = 1, 2 }), false, "first round"},

		{"head 4s old", network(WBFT, 4, aged(4*time.Second)), true, ""},
		{"head 6s old", network(WBFT, 4, aged(6*time.Second)), false, "the head is not fresh"},
		{"head 20s old", network(WBFT, 4, aged(20*time.Second)), false, "the head is not fresh"},
		{"head 21s old", network(WBFT, 4, aged(21*time.Second)), true, "the chain stands since block 256000: nothing is left to halt"},
		{"head 21s old of a slow chain", network(Clique, 4, aged(21*time.Second), func(c *Consensus) { c.BlockPeriod = 15 * time.Second }), true, ""},
		{"halted, and not its turn", network(WBFT, 4, aged(time.Hour), gone(1, 0), gone(2, 0), func(c *Consensus) { c.Slot.Index = 1 }), true, "stands"},

		{"the second quarter", network(WBFT, 4, moved(16)), false, "its turn comes at block 256256"},
		{"the first quarter's last block", network(WBFT, 4, moved(15)), true, ""},
		{"the next one's turn", network(WBFT, 4, func(c *Consensus) { c.Slot.Index = 1 }), false, "its turn comes at block 256064"},
		{"the one before", network(WBFT, 4, func(c *Consensus) { c.Slot.Index = 3 }), false, "its turn comes at block 256192"},
		{"a newcomer", network(WBFT, 4, func(c *Consensus) { c.Slot.Index = -1 }), false, "it was no validator when this slot began"},

		{"no validator", network(WBFT, 4, func(c *Consensus) { c.Validators[0].Self = false }), true, ""},
		{"the node is down", Consensus{}, true, ""},
		{"plain geth", network("", 0), true, ""},
		{"not visible", network("", 0, func(c *Consensus) { c.Err = "not offered" }), true, "not offered"},
		{"not asked yet", Consensus{Started: noon, Silent: noon}, false, "is being asked"},
		{"never an answer", Consensus{Started: noon.Add(-2 * time.Minute), Silent: noon.Add(-2 * time.Minute)}, true, "does not answer"},
		{"not understood", Consensus{Started: noon, Err: "no sense"}, false, "is not known: no sense"},
		{"silent for 10s", network(WBFT, 4, func(c *Consensus) { c.Silent, c.Asked = noon.Add(-10*time.Second), noon.Add(-40*time.Second) }), false, "old"},
		{"silent for long", network(WBFT, 4, func(c *Consensus) { c.Silent = noon.Add(-2 * time.Minute) }), true, "does not answer"},

		{"a producer", network(Wemix, 3), true, ""},
		{"with the token", network(Wemix, 3, func(c *Consensus) { c.Producer.Token = "w0" }), false, "holds the mining token"},
		{"with a token that ran out", network(Wemix, 3, func(c *Consensus) { c.Producer.Token, c.Producer.TokenTill = "w0", noon.Add(-time.Second) }), true, ""},
		{"leading etcd", network(Wemix, 3, func(c *Consensus) { c.Producer.Leader = "w0" }), true, "the node leads etcd"},
		{"one of three members down", network(Wemix, 3, gone(1, 0)), false, "only 2 of 3 members of etcd are up and its majority is 2: without this one it is 1"},
		{"one of five members down for long", network(Wemix, 5, gone(1, 0)), true, ""},
		{"one of five members away", network(Wemix, 5, gone(1, 5)), false, "validator w1 sealed before"},
		{"one of two members", network(Wemix, 2), true, "of 2 members of etcd none can be spared"},
		{"the only member, token and all", network(Wemix, 1, func(c *Consensus) { c.Producer.Token = "w0" }), true, "of 1 member of etcd none can be spared"},
		{"members that don't tell who is up", network(Wemix, 3, func(c *Consensus) { c.Producer.UpKnown = false; c.Producer.Members[1].Up = false }), true, ""},
		{"a member's turn", network(Wemix, 3, func(c *Consensus) { c.Slot.Index = 2 }), false, "its turn comes at"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			have, reason := tc.c.MayStop(noon)
			if have != tc.want || tc.reason == "" && reason != "" || !strings.Contains(reason, tc.reason) {
				t.Fatalf("want %v, %q, have %v, %q", tc.want, tc.reason, have, reason)
			}
		})
	}
}

func aged(by time.Duration) func(*Consensus) {
	return func(c *Consensus) { c.Head.Time, c.Head.Seen = noon.Add(-by), noon.Add(-by) }
}

// moved has the head so many blocks into the slot.
func moved(by uint64) func(*Consensus) {
	return func(c *Consensus) {
		c.Head.Number += by
		for i := range c.Validators {
			c.Validators[i].LastActive += by
		}
	}
}

// TestTurnsKeepTheQuorum has every validator of a network wish to stop at the
// same height, stop as soon as it may, and stay away as long as the slots allow
// for. Whoever is away must never be so many that the chain halts.
func TestTurnsKeepTheQuorum(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{WBFT, Clique} {
		for _, n := range []int{3, 4, 5, 7, 10, 40} {
			for _, downtime := range []int{1, 20, 60} {
				if kind == WBFT && n == 3 || n == 40 && downtime != 60 {
					continue // none can be spared; takes long
				}
				t.Run(fmt.Sprintf("%d of %s, %d blocks", n, kind, downtime), func(t *testing.T) {
					t.Parallel()
					var set []string
					for i := range n {
						set = append(set, fmt.Sprintf("0x%040x", i))
					}
					back := make([]uint64, n)   // the height at which each is there again
					lately := make([]uint64, n) // and at which it was seen sealing
					done, most := 0, 0
					c := network(kind, n)
					c.Validators[0].Self = false
					length := slotLength(n, time.Duration(downtime)*time.Second, time.Second)
					start := uint64(1000*n + 7)
					for h := start; done < n; h++ {
						if h > start+uint64(n+1)*length {
							t.Fatalf("want all to have had their turn, have %d", done)
						}
						away := 0
						for i := range n {
							if back[i] > h {
								away++
							} else if h%uint64(n) == uint64(i) || lately[i] == 0 { // its turn to seal
								lately[i] = h
							}
						}
						most = max(most, away)
						c.Head.Number, c.Slot = h, slotAt(h, length, set, "")
						for i := range n {
							c.Validators[i].Active = lately[i]+uint64(n) > h
							c.Validators[i].LastActive = lately[i]
						}
						for i := range n {
							if back[i] != 0 {
								continue
							}
							c.Validators[i].Self, c.Slot.Index = true, i
							if ok, _ := c.MayStop(noon); ok {
								back[i] = h + uint64(downtime)
								done++
							}
							c.Validators[i].Self = false
						}
					}
					if spare := n - quorum(kind, n); most > spare || most > 1 {
						t.Fatalf("want one away at a time, have %d (%d can be spared)", most, spare)
					}
				})
			}
		}
	}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		n                int
		downtime, period time.Duration
		want             uint64
	}{
		{1, 0, time.Second, 32},
		{4, time.Minute, time.Second, 64},
		{4, 20 * time.Second, time.Second, 32},
		{40, time.Minute, time.Second, 96},
		{4, time.Minute, 15 * time.Second, 32},
		{4, time.Minute, 0, 64},
		{4, 5 * time.Minute, time.Second, 320},
	} {
		if have := slotLength(tc.n, tc.downtime, tc.period); have != tc.want {
			t.Errorf("%d validators, %s: want %d, have %d", tc.n, tc.downtime, tc.want, have)
		}
	}
	set := []string{"0xc", "0xa", "0xb"}
	for _, tc := range []struct {
		height uint64
		self   string
		open   bool
		next   uint64
	}{
		{0, "0xa", true, 0},
		{7, "0xa", true, 0},
		{8, "0xa", false, 96},
		{8, "0xb", false, 32},
		{32, "0xb", true, 32},
		{64, "0xc", true, 64},
		{95, "0xc", false, 160},
		{96, "0xa", true, 96},
	} {
		s := slotAt(tc.height, 32, set, tc.self)
		if have := s.open(tc.height); have != tc.open {
			t.Errorf("%s at %d: want open %v, have %v", tc.self, tc.height, tc.open, have)
		}
		if have, ok := s.Next(tc.height); !ok || have != tc.next {
			t.Errorf("%s at %d: want its turn at %d, have %d", tc.self, tc.height, tc.next, have)
		}
	}
	if _, ok := slotAt(5, 32, set, "0xd").Next(5); ok {
		t.Error("want no turn of a stranger")
	}
	if _, ok := (Slot{}).Next(5); ok {
		t.Error("want no turn where there are no slots")
	}
}
