package chain

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Clique is geth's proof of authority: a kind of consensus, where the node is
// of the kind Geth.
const Clique = "clique"

// Consensus is what is known of how the network agrees, and of the node's part
// in it, at one moment. It is a value: nobody changes it, or what it refers to,
// after it was published.
//
// It belongs to one node process. What survives one is only the memory of who
// has sealed before.
type Consensus struct {
	Started time.Time // of the node process this is of; zero when it is down
	Known   bool      // the node told, or was found to have nothing to tell
	Asked   time.Time // when the node was asked for what stands here
	Silent  time.Time // since when it answers nothing; zero: it answers
	Err     string    // what it would not say, or why it was not understood; one short line

	// Kind is WBFT, QBFT, Wemix or Clique. It is empty for a node that has no
	// consensus to ask about, as plain geth; Err says why if it should have one.
	Kind        string
	Head        Head
	BlockPeriod time.Duration // zero when not known
	EpochLength uint64        // blocks for which the validators stay the same; 0 unknown

	Self       string      // the node's own address among validators; empty when it has none
	Validators []Validator // as of Head, sorted by address
	Quorum     int         // how many of them it takes to go on
	Window     int         // blocks looked at for who sealed and how smoothly
	Late       int         // those of them that took more than one round
	MaxRound   uint64      // the latest round one of them took
	Slot       Slot
	Producer   *Producer // go-wemix only

	Forks []Fork // that the running node knows, by height, those by time last

	Calls, Errors uint64 // to the node about all this, in this supervisor's life
}

// Validator is one of those who seal blocks: a WBFT or QBFT validator, a clique
// signer, a go-wemix governance member.
type Validator struct {
	Address string // 0x and 40 hex digits, lower case
	Name    string // go-wemix only
	Self    bool

	// Active says that it sealed within the last N blocks, N being the number of
	// validators; of go-wemix members, whose turns are not regular, that it is up.
	Active     bool
	Sealed     int    // blocks of that window it sealed
	LastActive uint64 // the height up to which it was seen active; 0 never

	// Version is that of its binary, from the newest block it proposed that we
	// saw; empty when it proposed none or its blocks don't say.
	Version string
}

// Producer is what only go-wemix has: etcd, and in it the mining token.
type Producer struct {
	Name      string    // the node's own, empty when it is no member
	Token     string    // name of the member that may mine
	TokenTill time.Time // when that ends by itself
	Leader    string    // of etcd
	Members   []Member  // of etcd
	UpKnown   bool      // the node told who is up
}

// Member is one of go-wemix's etcd cluster.
type Member struct {
	Name   string
	Self   bool
	Up     bool
	Height uint64 // its head; 0 unknown
}

// quorum is how many of n validators it takes. For WBFT and QBFT it is
// ceil(n - (n-1)/3): 1→1, 4→3, 7→5, 10→7, 40→27. Clique and etcd want a majority.
func quorum(kind string, n int) int {
	switch {
	case n <= 0:
		return 0
	case kind == WBFT, kind == QBFT:
		return int(math.Ceil(float64(n) - float64(n-1)/3))
	}
	return n/2 + 1
}

// IsValidator reports whether the node is one of those who seal.
func (c Consensus) IsValidator() bool {
	for _, v := range c.Validators {
		if v.Self {
			return true
		}
	}
	return false
}

// Active returns how many validators seal at present.
func (c Consensus) Active() int {
	active, _ := c.active()
	return active
}

// IsActive reports whether the node itself is one of the active.
func (c Consensus) IsActive() bool {
	all, others := c.active()
	return all > others
}

// active counts those who seal, and those besides the node itself.
func (c Consensus) active() (all, others int) {
	for _, v := range c.Validators {
		if v.Active {
			all++
			if !v.Self {
				others++
			}
		}
	}
	return all, others
}

// missing returns who sealed not long ago and does not now. A validator that is
// being upgraded is one of them until it is back; one that stays away longer
// than all turns of all validators take has stopped counting.
func (c Consensus) missing() []Validator {
	var missing []Validator
	for _, v := range c.Validators {
		memory := uint64(len(c.Validators)) * c.Slot.Length
		if !v.Self && !v.Active && v.LastActive > 0 && v.LastActive+memory >= c.Head.Number {
			missing = append(missing, v)
		}
	}
	return missing
}

// Epoch returns the number of the epoch the head is in; 0 where there are none.
func (c Consensus) Epoch() uint64 {
	if c.EpochLength == 0 {
		return 0
	}
	return c.Head.Number / c.EpochLength
}

// Versions counts the validators by the version their newest block was made
// with. The empty version stands for those that did not say.
func (c Consensus) Versions() map[string]int {
	count := make(map[string]int)
	for _, v := range c.Validators {
		count[v.Version]++
	}
	return count
}

// Rollout returns how many validators propose with version already or with a
// later one, and how many it takes.
func (c Consensus) Rollout(version string) (have, want int) {
	for _, v := range c.Validators {
		if v.Version != "" && atLeast(v.Version, version) {
			have++
		}
	}
	return have, c.Quorum
}

// atLeast compares what a block says of its proposer's binary with what a
// binary says of itself: v1.2.3 there is 1.2.3-stable-0123abcd here. It reports
// whether a is b or later. What is no numbers with dots between can only be the
// same.
func atLeast(a, b string) bool {
	a, b = bare(a), bare(b)
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		n, errN := strconv.ParseUint(x[i], 10, 32)
		m, errM := strconv.ParseUint(y[i], 10, 32)
		switch {
		case errN != nil || errM != nil:
			return a == b
		case n != m:
			return n > m
		}
	}
	return len(x) >= len(y)
}

func bare(version string) string {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "-")
	version, _, _ = strings.Cut(version, "+")
	return version
}

// name is how a validator is called in a sentence.
func (v Validator) name() string {
	if v.Name != "" {
		return v.Name
	}
	return v.Address
}

// address checks and lowers an address: nodes write it in either way.
func address(s string) (string, bool) {
	if len(s) != 42 || s[:2] != "0x" && s[:2] != "0X" {
		return "", false
	}
	for _, r := range s[2:] {
		if !strings.ContainsRune("0123456789abcdefABCDEF", r) {
			return "", false
		}
	}
	return strings.ToLower(s), true
}
