package probe

import (
	"container/list"
	"net"
	"sync"
)

// parlour is a listener with room for so many guests. When it is full, the one
// who came first has to leave: turning the new one away would let whoever fills
// the room keep the kubelet out, and have the container killed.
type parlour struct {
	net.Listener
	room int

	mu     sync.Mutex
	guests *list.List // of *guest, the longest here in front
}

type guest struct {
	net.Conn
	leave func()
}

func newParlour(ln net.Listener, room int) *parlour {
	return &parlour{Listener: ln, room: room, guests: list.New()}
}

func (p *parlour) Accept() (net.Conn, error) {
	conn, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &guest{Conn: conn}
	p.mu.Lock()
	var oldest *guest
	if p.guests.Len() >= p.room {
		oldest = p.guests.Remove(p.guests.Front()).(*guest)
	}
	seat := p.guests.PushBack(g)
	g.leave = sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.guests.Remove(seat) // nothing, when it was shown out
	})
	p.mu.Unlock()
	if oldest != nil {
		oldest.Conn.Close() // its server notices and closes the rest
	}
	return g, nil
}

// Close gives the seat up.
func (g *guest) Close() error {
	g.leave()
	return g.Conn.Close()
}
