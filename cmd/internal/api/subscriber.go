package api

import (
	"errors"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

const (
	pingEvery  = 30 * time.Second
	pongWithin = 75 * time.Second // two pings and a bit
	// farewell is how long a dropped client has to make room for the reason. It
	// is in the middle of a frame, and nothing can be said before its end.
	farewell = 10 * time.Second
	// clientTalk bounds what a client may send. It has nothing to say.
	clientTalk = 4 << 10
)

// subscriber is one WebSocket client.
type subscriber struct {
	topics   []string
	conn     *websocket.Conn
	queue    chan *websocket.PreparedMessage
	accepted chan bool

	once sync.Once
	over chan struct{} // closes when it has to go
	code int           // why, set before
	why  string
	doom *time.Timer // set before, too
}

// drop ends s; only the first reason counts. It never blocks.
func (s *subscriber) drop(code int, why string) {
	s.once.Do(func() {
		s.code, s.why = code, why
		// A write that waits for the client has no deadline of its own.
		s.doom = time.AfterFunc(farewell, func() { s.conn.Close() })
		close(s.over)
	})
}

var upgrader = websocket.Upgrader{
	HandshakeTimeout: 10 * time.Second,
	ReadBufferSize:   512,
	WriteBufferPool:  &sync.Pool{}, // an idle client holds no buffer
	WriteBufferSize:  1 << 10,
	CheckOrigin:      func(*http.Request) bool { return true }, // the door has looked
}

// events turns the connection into a stream of events.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	topics, err := wanted(r.URL.Query().Get("topics"))
	if err != nil {
		return err
	}
	if !websocket.IsWebSocketUpgrade(r) {
		return malformed("this route speaks WebSocket: send Connection: Upgrade and Upgrade: websocket")
	}
	var refused error
	u := upgrader
	u.Error = func(_ http.ResponseWriter, _ *http.Request, status int, reason error) {
		refused = fault{status, "bad_request", reason}
	}
	id := http.Header{"X-Request-Id": w.Header().Values("X-Request-Id")}
	conn, err := u.Upgrade(w, r, id)
	if refused != nil {
		return refused
	}
	if err != nil {
		return nil // it has left
	}
	s.cfg.Hub.serve(&subscriber{
		topics: topics, conn: conn,
		queue:    make(chan *websocket.PreparedMessage, queueMax),
		accepted: make(chan bool, 1),
		over:     make(chan struct{}),
	})
	return nil
}

// serve keeps one client until it leaves or has to.
func (h *Hub) serve(s *subscriber) {
	defer s.conn.Close()
	select {
	case h.joins <- s:
	case <-h.closed:
		s.bye(websocket.CloseGoingAway, "supervisor has ended")
		return
	}
	if !<-s.accepted {
		s.bye(websocket.CloseTryAgainLater, "too many clients")
		return
	}
	written := make(chan struct{})
	go func() { // waited for below
		defer close(written)
		s.write()
	}()
	s.drop(s.read())
	select {
	case h.leaves <- s:
	case <-h.closed:
	}
	<-written
	s.doom.Stop()
}

// read waits for the end: a client has nothing to say, but its pongs and its
// farewell come this way.
func (s *subscriber) read() (code int, why string) {
	alive := func(string) error {
		select {
		case <-s.over: // it may only say goodbye now
			return nil
		default:
			return s.conn.SetReadDeadline(time.Now().Add(pongWithin))
		}
	}
	s.conn.SetReadLimit(clientTalk)
	s.conn.SetPongHandler(alive)
	s.conn.SetCloseHandler(func(int, string) error { return nil }) // write answers it
	_ = alive("")
	for {
		kind, text, err := s.conn.ReadMessage() // at most clientTalk of it
		var late interface{ Timeout() bool }
		switch {
		case err == nil && kind == websocket.TextMessage && !utf8.Valid(text):
			return websocket.CloseInvalidFramePayloadData, "a text message that is not UTF-8" // RFC 6455, 8.1
		case err == nil:
		case errors.As(err, &late) && late.Timeout():
			return websocket.CloseTryAgainLater, "no answer to pings"
		default:
			return websocket.CloseNormalClosure, ""
		}
	}
}

// write sends what is queued, until s has to go; then it says why, and ends the
// wait of read.
func (s *subscriber) write() {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-s.over:
			// The last words of the node are still for who could follow so far.
			for s.code == websocket.CloseGoingAway && len(s.queue) > 0 {
				if s.conn.WritePreparedMessage(<-s.queue) != nil {
					break
				}
			}
			s.bye(s.code, s.why)
			return
		default:
		}
		var err error
		select {
		case <-s.over:
			continue
		case m := <-s.queue:
			err = s.conn.WritePreparedMessage(m)
		case <-ping.C:
			// Without a deadline, like all that is written: a client that reads
			// nothing ends by its missing pong.
			err = s.conn.WriteControl(websocket.PingMessage, nil, time.Time{})
		}
		if err != nil {
			s.drop(websocket.CloseNormalClosure, "")
		}
	}
}

// bye says why, and gives the client a moment to answer.
func (s *subscriber) bye(code int, why string) {
	until := time.Now().Add(farewell)
	if s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, why), until) != nil {
		until = time.Now()
	}
	_ = s.conn.SetReadDeadline(until)
}
