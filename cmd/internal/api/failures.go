package api

import (
	"net/netip"
	"sync"
	"time"
)

// Wrong tokens of one address: so many at once, then one for each second.
const (
	failuresBurst = 20
	failuresEvery = time.Second
	failuresPeers = 4096 // addresses remembered
)

// failures bounds the wrong tokens of each address. They do not keep the right
// one out, which is looked at first: its 32 characters are what no number of
// guesses finds, and this keeps guessing cheap for us and plain to see. Its
// memory is bounded too: when it is full, an address is forgotten, which gives it
// a fresh burst.
type failures struct {
	now func() time.Time

	mu    sync.Mutex
	peers map[netip.Addr]time.Time // when the address will have a clean slate
}

func newFailures(now func() time.Time) *failures {
	return &failures{now: now, peers: make(map[netip.Addr]time.Time)}
}

// add counts a wrong token of peer. It reports whether the address may have had
// that one, and whether it was the last of a burst. One too many does not count.
func (f *failures) add(peer netip.Addr) (may, last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	clean := f.peers[peer]
	if clean.IsZero() {
		f.room(now)
	}
	if clean.Before(now) {
		clean = now
	}
	const most = failuresBurst * failuresEvery
	clean = clean.Add(failuresEvery)
	if clean.Sub(now) > most {
		return false, false
	}
	f.peers[peer] = clean
	return true, clean.Sub(now) > most-failuresEvery
}

// room makes room for one more address.
func (f *failures) room(now time.Time) {
	if len(f.peers) < failuresPeers {
		return
	}
	for peer, clean := range f.peers {
		if clean.Before(now) {
			delete(f.peers, peer)
		}
	}
	for peer := range f.peers { // any: the map's order is random
		if len(f.peers) < failuresPeers {
			return
		}
		delete(f.peers, peer)
	}
}
