package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// listen opens a WebSocket.
func (h *house) listen(topics string) *websocket.Conn {
	h.t.Helper()
	conn, resp, err := websocket.DefaultDialer.DialContext(h.t.Context(), "ws"+strings.TrimPrefix(h.url, "http")+"/api/v1/ws?topics="+topics,
		http.Header{"Authorization": {"Bearer " + secret}})
	if err != nil {
		h.t.Fatalf("%v %v", resp, err)
	}
	h.t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	return conn
}

// event reads the next one, its data into to.
func event(t *testing.T, conn *websocket.Conn, to any) string {
	t.Helper()
	var e struct {
		Type string          `json:"type"`
		TS   time.Time       `json:"ts"`
		Data json.RawMessage `json:"data"`
	}
	if err := conn.ReadJSON(&e); err != nil {
		t.Fatal(err)
	}
	if e.TS.IsZero() {
		t.Errorf("want a time, have %+v", e)
	}
	if err := json.Unmarshal(e.Data, to); err != nil {
		t.Fatal(err)
	}
	return e.Type
}

func TestStateIsToldAsItChanges(t *testing.T) {
	t.Parallel()
	h := open(t, "exec sleep 60", nil)
	pid := h.running()
	conn := h.listen("state")
	var at Transition
	// Who joins is told how it is.
	for event(t, conn, &at); at.State != "running"; event(t, conn, &at) {
	}
	if at.PID != pid {
		t.Fatalf("want pid %d, have %+v", pid, at)
	}
	if err := h.sup.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	var states []string
	for at.State != "stopped" {
		if have := event(t, conn, &at); have != "state" {
			t.Fatalf("want state alone, have %s", have)
		}
		states = append(states, at.State)
	}
	if !slices.Contains(states, "stopping") || at.PID != 0 || at.Reason == "" {
		t.Fatalf("want stopping, stopped and why, have %v %+v", states, at)
	}
}

func TestOutputIsToldInPieces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, "echo before; while [ ! -e "+dir+"/go ]; do sleep 0.05; done; i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exec sleep 60", nil)
	until(t, h.sup, "before")
	conn := h.listen("log")
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for !strings.Contains(all.String(), "line 2999\n") {
		var out Output
		event(t, conn, &out)
		if len(out.Text) > outputPiece {
			t.Fatalf("want pieces of %d, have %d", outputPiece, len(out.Text))
		}
		if out.Skipped == 0 && !strings.HasSuffix(out.Text, "\n") {
			t.Logf("cut within a line: %q", out.Text[max(0, len(out.Text)-20):])
		}
		all.WriteString(out.Text)
	}
	if strings.Contains(all.String(), "before") || !strings.HasPrefix(all.String(), "line 0\n") {
		t.Fatalf("want what came after the client, have %.40q", all.String())
	}
}

func TestUnknownTopicIsRefused(t *testing.T) {
	t.Parallel()
	h := open(t, "exec sleep 60", nil)
	h.want(400, "GET", "/api/v1/ws?topics=weather", secret, "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "MDEyMzQ1Njc4OWFiY2RlZg==")
	h.want(400, "GET", "/api/v1/ws", secret)
	h.want(400, "GET", "/api/v1/ws", secret, "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "7")
}

func TestSlowClientIsDroppedAndToldWhy(t *testing.T) {
	t.Parallel()
	h := open(t, "exec sleep 60", nil)
	h.running()
	conn, other := h.listen("head"), h.listen("head")
	seen, got := make(chan int, 1), make(chan struct{})
	go func() { // ends with the last event
		defer close(got)
		n := 0
		for {
			var e Event
			if other.ReadJSON(&e) != nil || e.Data == "last" {
				seen <- n
				return
			}
			n++
			got <- struct{}{}
		}
	}()
	// What the kernel holds for a client is megabytes; what we hold is queueMax.
	large := strings.Repeat("x", 64<<10)
	dropped := false
	for n := 0; n < 2000 && !dropped; n++ {
		h.hub.Publish(TopicHead, large)
		<-got // no faster than a good client reads
		dropped = h.hub.count.Load() == 1
	}
	if !dropped {
		t.Fatal("want the client that does not read dropped")
	}
	h.hub.Publish(TopicHead, "last")
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second)) // what came before may have taken as long
	for {
		_, _, err := conn.ReadMessage()
		if err == nil {
			continue
		}
		var end *websocket.CloseError
		if !errors.As(err, &end) || end.Code != websocket.CloseTryAgainLater || !strings.Contains(end.Text, "too slow") {
			t.Fatalf("want 1013 and why, have %v", err)
		}
		break
	}
	if n := <-seen; n == 0 {
		t.Fatal("want the other client untouched")
	}
}

func TestWhoPublishesNeverWaits(t *testing.T) {
	t.Parallel()
	h := NewHub(nil, nil) // and nobody runs it
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 4 * eventsMax {
			h.Publish(TopicHead, i)
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("want the hub's queue full and nobody waiting")
	}
	if !h.lost.Load() {
		t.Fatal("want the gap noted")
	}
}

func TestEventsThatFindNoRoomAreNotLostInSilence(t *testing.T) {
	t.Parallel()
	h := open(t, "exec sleep 60", nil)
	conn := h.listen("alert")
	h.hub.lost.Store(true)
	h.hub.Publish(TopicHead, 1) // something wakes it
	_, _, err := conn.ReadMessage()
	var end *websocket.CloseError
	if !errors.As(err, &end) || end.Code != websocket.CloseTryAgainLater {
		t.Fatalf("want 1013, have %v", err)
	}
}

// TestAThousandClients has a thousand of which half never read, and a
// supervisor that must not notice.
func TestAThousandClients(t *testing.T) {
	h := open(t, "exec sleep 60", nil)
	h.running()
	before := runtime.NumGoroutine()
	files := descriptors(t)
	alone := h.latency(t, 100)

	const clients = 1000
	conns := make([]*websocket.Conn, clients)
	var reading sync.WaitGroup
	var mu sync.Mutex
	var got int
	for i := range conns {
		conns[i] = h.listen("state,head,log")
		if i%2 == 0 {
			reading.Go(func() {
				n := 0
				for {
					if _, _, err := conns[i].ReadMessage(); err != nil {
						break
					}
					n++
				}
				mu.Lock()
				got += n
				mu.Unlock()
			})
		}
	}
	var m0, m1 runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m0)
	large := strings.Repeat("x", 2<<10)
	stop, published := make(chan struct{}), make(chan int)
	go func() { // until stop
		n := 0
		for tick := time.NewTicker(200 * time.Millisecond); ; n++ {
			select {
			case <-stop:
				tick.Stop()
				published <- n
				return
			case <-tick.C:
				h.hub.Publish(TopicHead, large)
			}
		}
	}()
	crowded := h.latency(t, 100)
	close(stop)
	n := <-published
	runtime.GC()
	runtime.ReadMemStats(&m1)
	t.Logf("supervisor's request, p50 and p99: alone %s %s; with %d clients and %d events of 2 KiB: %s %s; heap %d KiB more than before them",
		alone[len(alone)/2], alone[len(alone)*99/100], clients, n, crowded[len(crowded)/2], crowded[len(crowded)*99/100],
		(int64(m1.HeapAlloc)-int64(m0.HeapAlloc))>>10)
	// What the readers in this process have in hand counts too.
	if grown := int64(m1.HeapAlloc) - int64(m0.HeapAlloc); grown > 64<<20 {
		t.Errorf("want memory bounded, have %d MiB more", grown>>20)
	}
	// The clients are in this process too, and the race detector slows all of it.
	if have := crowded[len(crowded)/2]; have > 20*time.Millisecond {
		t.Errorf("want the loop unaffected, have p50 %s", have)
	}
	for _, c := range conns {
		c.Close()
	}
	reading.Wait()
	if got == 0 {
		t.Error("want the readers to have got events")
	}
	h.http.CloseIdleConnections()
	leaves(t, before+2, files+2)
}

// latency measures how long the supervisor's loop takes for a request, in order.
func (h *house) latency(t *testing.T, n int) []time.Duration {
	t.Helper()
	var took []time.Duration
	for range n {
		began := time.Now()
		if err := h.sup.Start(t.Context(), nil); err == nil {
			t.Fatal("want ErrRunning")
		}
		took = append(took, time.Since(began))
		time.Sleep(5 * time.Millisecond) // spread over a second
	}
	slices.Sort(took)
	return took
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestClientsLeaveInEveryWay(t *testing.T) {
	t.Parallel()
	h := open(t, "exec sleep 60", nil)
	h.running()
	for i := range 30 {
		conn := h.listen("state")
		switch i % 3 {
		case 0:
			conn.Close()
		case 1:
			_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
			for {
				if _, _, err := conn.ReadMessage(); err != nil {
					break
				}
			}
		case 2:
			_, _ = conn.NetConn().Write([]byte("no frame at all"))
		}
	}
	eventually(t, "nobody left", func() bool { return h.hub.count.Load() == 0 })
}

func TestSupervisorsEndIsSaidToClients(t *testing.T) {
	t.Parallel()
	h := open(t, "exec sleep 60", nil)
	h.running()
	conn := h.listen("state")
	h.end()
	var last Transition
	for {
		_, text, err := conn.ReadMessage()
		if err == nil {
			if err := json.Unmarshal(text, &Event{Data: &last}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Fatalf("want 1001, have %v", err)
		}
		break
	}
	if last.State != "stopped" {
		t.Fatalf("want the node's end told first, have %+v", last)
	}
}

// TestTextThatIsNoUTF8EndsTheConnection is RFC 6455, 8.1.
func TestTextThatIsNoUTF8EndsTheConnection(t *testing.T) {
	t.Parallel()
	h := open(t, "exec sleep 60", nil)
	for _, tc := range []struct {
		name string
		kind int
		text string
		want int
	}{
		{"text of broken UTF-8", websocket.TextMessage, "\xff\xfe", websocket.CloseInvalidFramePayloadData},
		{"text cut within a character", websocket.TextMessage, "ab\xe2\x82", websocket.CloseInvalidFramePayloadData},
		{"text that says nothing to us", websocket.TextMessage, "é", 0},
		{"bytes may be anything", websocket.BinaryMessage, "\xff\xfe", 0},
		{"more than we hear", websocket.TextMessage, strings.Repeat("x", clientTalk+1), websocket.CloseMessageTooBig},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn := h.listen("alert")
			if err := conn.WriteMessage(tc.kind, []byte(tc.text)); err != nil {
				t.Fatal(err)
			}
			if tc.want == 0 { // it goes on: what happens is still told
				h.hub.Publish(TopicAlert, "x")
				if have := event(t, conn, new(string)); have != TopicAlert {
					t.Fatalf("want the alert, have %s", have)
				}
				return
			}
			var end *websocket.CloseError
			if _, _, err := conn.ReadMessage(); !errors.As(err, &end) || end.Code != tc.want {
				t.Fatalf("want close code %d, have %v", tc.want, err)
			}
		})
	}
}
