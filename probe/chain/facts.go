package chain

import "time"

// Kinds of nodes we know how to question. Geth stands for every other client
// of that family too.
const (
	Geth  = "geth"
	Wemix = "wemix" // go-wemix: SPoA, an etcd token says who mines
	WBFT  = "wbft"
	QBFT  = "qbft"
)

// Head is the newest block the node told us of.
type Head struct {
	Number uint64
	Hash   string
	Time   time.Time // the block's own timestamp
	Seen   time.Time // when we first saw it
}

// Known reports whether there is a head at all.
func (h Head) Known() bool { return h.Hash != "" }

// Age is how old the head is at now: the time since its timestamp, but never
// less than the time since we first saw it.
//
// The timestamp tells the truth about a node that imports old blocks: it moves
// and is still behind. Our own observation tells the truth where the timestamp
// can't: a block from the future (the producer's clock is ahead, or ours was
// set back) would look fresh forever although the chain stands still.
func (h Head) Age(now time.Time) time.Duration {
	return max(now.Sub(h.Time), now.Sub(h.Seen), 0)
}

// Facts is what is known of the node at one moment. It is a value: nobody
// changes it after it was published.
//
// What RPC said belongs to one node process and is forgotten when the process
// ends. Identity and head outlive it: they are what the next one is compared to.
type Facts struct {
	Started time.Time // of the node process these facts belong to; zero when it is down

	Client  string // geth, gwemix, gstable: the first word of web3_clientVersion
	Version string // v1.16.9-stable-…: the second
	Kind    string // Geth, Wemix, WBFT or QBFT; empty until identified
	ChainID uint64
	Genesis string

	Head      Head
	HeadKnown bool // this node process told it; else it is from an earlier one

	Peers      int
	PeersKnown bool
	Listening  bool   // for peers; only of interest when PeersKnown
	Syncing    bool   // what eth_syncing said; false proves nothing
	Highest    uint64 // the best height the node or its peers speak of; 0 unknown

	FirstAnswer time.Time // of this node process; zero: it never answered
	LastAnswer  time.Time
	Latency     time.Duration // of the last call that was answered
	Failed      int           // calls in a row without an answer
	Err         string        // why the last one failed; one short line

	Calls, Errors uint64 // of this supervisor's life
}

// Lag is how many blocks the head is behind the best height known.
func (f Facts) Lag() uint64 {
	if !f.HeadKnown || f.Highest <= f.Head.Number {
		return 0
	}
	return f.Highest - f.Head.Number
}

// forgotten returns what outlives a node process.
func (f Facts) forgotten(started time.Time) Facts {
	return Facts{
		Started: started,
		Client:  f.Client, Version: f.Version, Kind: f.Kind,
		ChainID: f.ChainID, Genesis: f.Genesis,
		Head:  f.Head,
		Calls: f.Calls, Errors: f.Errors,
	}
}
