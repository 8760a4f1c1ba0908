package probe

import (
	"container/list"
	"net"
	"sync"
)

// Parlour is a listener with room for so many guests. When it is full, the one
// who came first has to leave: turning the new one away would let whoever fills
// the room keep the kubelet out, and have the container killed.
//
// A guest whose connection was told to Stay is asked no more; when only those
// are left, the new one is turned away.
type Parlour struct {
	net.Listener
	room int

	mu      sync.Mutex
	guests  *list.List // of *guest, the longest here in front
	staying int
}

type guest struct {
	net.Conn
	parlour *Parlour
	seat    *list.Element // nil: it stays, or has left
	stays   bool
}

// NewParlour returns ln with room for so many guests.
func NewParlour(ln net.Listener, room int) *Parlour {
	return &Parlour{Listener: ln, room: room, guests: list.New()}
}

// Accept lets the next guest in.
func (p *Parlour) Accept() (net.Conn, error) {
	for {
		conn, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g := &guest{Conn: conn, parlour: p}
		oldest, full := p.sit(g)
		if oldest != nil {
			oldest.Conn.Close() // its server notices and closes the rest
		}
		if !full {
			return g, nil
		}
		conn.Close()
	}
}

// sit gives g a seat and returns who has to leave for it, or that nobody does.
func (p *Parlour) sit(g *guest) (oldest *guest, full bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.guests.Len()+p.staying >= p.room {
		front := p.guests.Front()
		if front == nil {
			return nil, true
		}
		oldest = p.guests.Remove(front).(*guest)
		oldest.seat = nil
	}
	g.seat = p.guests.PushBack(g)
	return oldest, false
}

// Stay keeps the guest until it leaves by itself.
func (g *guest) Stay() {
	p := g.parlour
	p.mu.Lock()
	defer p.mu.Unlock()
	if g.seat == nil {
		return
	}
	p.guests.Remove(g.seat)
	g.seat, g.stays = nil, true
	p.staying++
}

// Close gives the seat up.
func (g *guest) Close() error {
	p := g.parlour
	p.mu.Lock()
	switch {
	case g.seat != nil:
		p.guests.Remove(g.seat)
	case g.stays:
		p.staying--
	}
	g.seat, g.stays = nil, false
	p.mu.Unlock()
	return g.Conn.Close()
}
