package api

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/gorilla/websocket"

	supervisor "github.com/wemix/wemixvisor/init"
)

const (
	subscribersMax = 1500
	eventsMax      = 256 // that wait for the hub
	queueMax       = 64  // that wait for one client

	// The node's output is sent in pieces of a bounded size, so often.
	outputPiece = 16 << 10
	outputEvery = 100 * time.Millisecond
)

// Hub tells WebSocket clients what happens. Who tells the hub never waits: the
// hub has a queue, each client has one, and a client whose queue is full is
// dropped and told why. An event is encoded once for all.
type Hub struct {
	tail   *supervisor.Tail
	logger log.Logger

	events chan Event
	lost   atomic.Bool // an event found no room: everybody has a gap
	joins  chan *subscriber
	leaves chan *subscriber
	closed chan struct{} // closes when Run has ended
	count  atomic.Int64  // of subscribers

	// Owned by Run.
	subscribers map[*subscriber]struct{}
	last        map[string]*websocket.PreparedMessage // for who joins: state and head
	readers     int                                   // subscribers of the log
	offset      int64                                 // what they have of the tail
	changed     <-chan struct{}                       // there is more; nil without readers
	pause       <-chan time.Time                      // nil: not pausing between two pieces
}

// NewHub returns a Hub that takes the log from tail. Don't forget to Run it.
func NewHub(tail *supervisor.Tail, logger log.Logger) *Hub {
	return &Hub{
		tail: tail, logger: logger,
		events:      make(chan Event, eventsMax),
		joins:       make(chan *subscriber),
		leaves:      make(chan *subscriber),
		closed:      make(chan struct{}),
		subscribers: make(map[*subscriber]struct{}),
		last:        make(map[string]*websocket.PreparedMessage),
	}
}

// Publish tells everybody who wants topic. It never blocks. Nobody may change
// data afterwards.
func (h *Hub) Publish(topic string, data any) {
	select {
	case h.events <- Event{topic, time.Now().UTC(), data}:
	default:
		h.lost.Store(true)
	}
}

// Run serves the clients until ctx is done and down is closed: the end of the
// node is an event too.
func (h *Hub) Run(ctx context.Context, down <-chan struct{}) error {
	defer close(h.closed)
	over := make(chan struct{})
	go func() { // ends with the node
		<-ctx.Done()
		<-down
		close(over)
	}()
	for {
		if h.lost.Swap(false) {
			h.everybody(websocket.CloseTryAgainLater, "events came faster than they could be passed on: connect again and ask for the status")
		}
		select {
		case <-over:
			for len(h.events) > 0 {
				h.pass(<-h.events)
			}
			h.pause = nil
			h.output() // its last words
			h.everybody(websocket.CloseGoingAway, "supervisor has ended")
			return ctx.Err()
		case e := <-h.events:
			h.pass(e)
		case s := <-h.joins:
			h.join(s)
		case s := <-h.leaves:
			h.remove(s)
		case <-h.changed:
			h.output()
		case <-h.pause:
			h.pause = nil
			h.output()
		}
	}
}

func (h *Hub) join(s *subscriber) {
	if len(h.subscribers) >= subscribersMax {
		s.accepted <- false
		return
	}
	h.subscribers[s] = struct{}{}
	h.count.Store(int64(len(h.subscribers)))
	for _, topic := range s.topics {
		if m := h.last[topic]; m != nil {
			s.queue <- m // it is empty and has room
		}
	}
	if slices.Contains(s.topics, TopicLog) {
		if h.readers++; h.readers == 1 {
			_, h.offset = h.tail.Lines(0)
			_, _, h.changed = h.tail.From(h.offset)
		}
	}
	s.accepted <- true
}

func (h *Hub) remove(s *subscriber) {
	if _, in := h.subscribers[s]; !in {
		return
	}
	delete(h.subscribers, s)
	h.count.Store(int64(len(h.subscribers)))
	if slices.Contains(s.topics, TopicLog) {
		if h.readers--; h.readers == 0 {
			h.changed, h.pause = nil, nil
		}
	}
}

// everybody has to go.
func (h *Hub) everybody(code int, why string) {
	for s := range h.subscribers {
		h.remove(s)
		s.drop(code, why)
	}
}

// pass encodes e and gives it to who wants it.
func (h *Hub) pass(e Event) {
	keep := e.Type == TopicState || e.Type == TopicHead
	if len(h.subscribers) == 0 && !keep {
		return
	}
	text, err := json.Marshal(e)
	if err != nil {
		level.Error(h.logger).Log("msg", "event cannot be written as JSON; nobody is told", "topic", e.Type, "err", err)
		return
	}
	m, err := websocket.NewPreparedMessage(websocket.TextMessage, text)
	if err != nil {
		level.Error(h.logger).Log("msg", "event cannot be framed; nobody is told", "topic", e.Type, "err", err)
		return
	}
	if keep {
		h.last[e.Type] = m
	}
	for s := range h.subscribers {
		if !slices.Contains(s.topics, e.Type) {
			continue
		}
		select {
		case s.queue <- m:
		default:
			h.remove(s)
			s.drop(websocket.CloseTryAgainLater, "too slow: events came faster than they were read")
		}
	}
}

// output passes what the node wrote since the last time, then pauses: many
// small writes become one event.
func (h *Hub) output() {
	if h.pause != nil || h.readers == 0 {
		h.changed = nil // the end of the pause looks again
		return
	}
	text, next, changed := h.tail.From(h.offset)
	if len(text) == 0 {
		h.changed = changed
		return
	}
	skipped := next - h.offset - int64(len(text))
	h.offset, h.changed, h.pause = next, nil, time.After(outputEvery)
	for len(text) > 0 {
		n := piece(text)
		h.pass(Event{TopicLog, time.Now().UTC(), Output{string(text[:n]), skipped}})
		text, skipped = text[n:], 0
	}
}

// piece returns where to cut text: behind a line, or at least not within a
// character.
func piece(text []byte) int {
	if len(text) <= outputPiece {
		return len(text)
	}
	if n := bytes.LastIndexByte(text[:outputPiece], '\n') + 1; n > 0 {
		return n
	}
	n := outputPiece
	for n > outputPiece-utf8.UTFMax && !utf8.RuneStart(text[n]) {
		n--
	}
	return n
}
