package api

import (
	"slices"
	"strings"
	"time"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe/chain"
)

// Topics a client may ask for.
const (
	TopicState   = "state"
	TopicHead    = "head"
	TopicUpgrade = "upgrade"
	TopicBackup  = "backup"
	TopicAlert   = "alert"
	TopicLog     = "log"
)

var topics = []string{TopicState, TopicHead, TopicUpgrade, TopicBackup, TopicAlert, TopicLog}

func topicList() string { return strings.Join(topics, ", ") }

// Event is what a WebSocket client gets.
type Event struct {
	Type string    `json:"type"` // its topic
	TS   time.Time `json:"ts"`
	Data any       `json:"data"`
}

// Transition is the data of a state event.
type Transition struct {
	From     string  `json:"from"`
	State    string  `json:"state"`
	Reason   string  `json:"reason"`
	PID      int     `json:"pid"`
	Restarts int     `json:"restart_count"`
	Change   *Change `json:"change"`
}

// TransitionOf shapes a transition of the supervisor.
func TransitionOf(from, to supervisor.Status) Transition {
	return Transition{
		From: string(from.State), State: string(to.State), Reason: to.Reason, PID: to.Pid, Restarts: to.Restarts,
		Change: changeOf(to.Change),
	}
}

// Block is the data of a head event.
type Block struct {
	Height uint64    `json:"height"`
	Hash   string    `json:"hash"`
	Time   time.Time `json:"time"`
}

// BlockOf shapes a head.
func BlockOf(h chain.Head) Block {
	return Block{Height: h.Number, Hash: h.Hash, Time: h.Time.UTC()}
}

// Output is the data of a log event: what the node wrote.
type Output struct {
	Text    string `json:"text"`
	Skipped int64  `json:"skipped,omitempty"` // bytes before it that came too fast
}

// wanted reads the topics a client asks for.
func wanted(query string) ([]string, error) {
	if query == "" {
		return topics, nil
	}
	names := strings.Split(query, ",")
	for _, name := range names {
		if !slices.Contains(topics, name) {
			return nil, malformed("no such topic: %q; there are %s", name, topicList())
		}
	}
	return names, nil
}
