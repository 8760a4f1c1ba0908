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

// failures bounds the guesses of each address. Its memory is bounded too: when
// it is full, an address is forgotten, which gives it a fresh burst of guesses at
// a secret that no burst finds.
type failures struct {
	now func() time.Time

	mu    sync.Mutex
	peers map[netip.Addr]time.Time // when the address will have a clean slate
}

func newFailures(now func() time.Time) *failures {
	return &failures{now: now, peers: make(map[netip.Addr]time.Time)}
}

// may reports whether peer may guess. A refused guess is not looked at and does
// not count.
func (f *failures) may(peer netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.peers[peer].Sub(f.now()) <= (failuresBurst-1)*failuresEvery
}

// add counts a wrong token of peer, and reports whether that was the last of a
// burst.
func (f *failures) add(peer netip.Addr) (spent bool) {
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
	before := clean.Sub(now)
	f.peers[peer] = clean.Add(failuresEvery)
	const last = (failuresBurst - 1) * failuresEvery
	return before <= last && before+failuresEvery > last
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
