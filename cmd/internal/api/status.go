package api

import (
	"strings"
	"time"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/probe/chain"
	"github.com/wemix/wemixvisor/upgrade"
)

// Status is the answer of GET /api/v1/status and of the command status.
type Status struct {
	State        string            `json:"state"`
	StateString  string            `json:"state_string"`
	PID          int               `json:"pid"`
	Uptime       string            `json:"uptime"`
	RestartCount int               `json:"restart_count"`
	Network      string            `json:"network"`
	Binary       string            `json:"binary"`
	Version      string            `json:"version"`
	Upgrade      string            `json:"upgrade"`
	Args         []string          `json:"args"`
	Node         Node              `json:"node"`
	Reason       string            `json:"reason"`
	Change       *Change           `json:"change"`
	Gate         *Gate             `json:"gate"`      // null: no planned stop waits
	Consensus    *Consensus        `json:"consensus"` // null: the node has none, or is not known yet
	Pending      []Pending         `json:"pending"`
	Download     *upgrade.Download `json:"download"`
	Backup       BackupState       `json:"backup"`
	LastExit     *Exit             `json:"last_exit"`
	Health       probe.Health      `json:"health"`
	Alerts       []alert.Alert     `json:"alerts"`
}

// Node is what the node says of itself.
type Node struct {
	Client  string `json:"client"`
	Height  uint64 `json:"height"`
	HeadAge string `json:"head_age"`
	Peers   int    `json:"peers"`
	Syncing bool   `json:"syncing"`
}

// Pending is an upgrade that is still to come.
type Pending struct {
	Name       string        `json:"name"`
	Height     uint64        `json:"height"`
	Stage      upgrade.Stage `json:"stage"`
	Reason     string        `json:"reason"`
	BlocksLeft uint64        `json:"blocks_left"`
	ETA        *time.Time    `json:"eta"` // null when nobody can tell
}

// Change is what is being done to the node.
type Change struct {
	Kind  string    `json:"kind"`
	Name  string    `json:"name"`
	Stage string    `json:"stage"`
	Since time.Time `json:"since"`
}

// Exit is how the node's last process ended.
type Exit struct {
	Status     int       `json:"status"`
	Text       string    `json:"text"`
	At         time.Time `json:"at"`
	Killed     bool      `json:"killed"`
	OOM        bool      `json:"oom"`
	LastOutput string    `json:"last_output"`
}

// Sources are what a status is made of.
type Sources struct {
	Supervisor supervisor.Status
	Facts      chain.Facts
	Health     probe.Health
	Alerts     []alert.Alert
	Consensus  chain.Consensus
	Gate       Gate // an empty reason: no planned stop waits
	Network    string
	Upgrade    string
	Plans      []upgrade.Entry
	Download   *upgrade.Download
	Backup     BackupState
}

// StatusOf shapes the sources at now.
func StatusOf(src Sources, now time.Time) Status {
	sup, facts := src.Supervisor, src.Facts
	st := Status{
		State:        string(sup.State),
		StateString:  string(sup.State),
		PID:          sup.Pid,
		Uptime:       "0s",
		RestartCount: sup.Restarts,
		Network:      src.Network,
		Binary:       sup.Binary,
		Upgrade:      src.Upgrade,
		Args:         append([]string{}, sup.Args...),
		Reason:       sup.Reason,
		Backup:       src.Backup,
		Health:       src.Health,
		Alerts:       append([]alert.Alert{}, src.Alerts...),
		Pending:      []Pending{},
		Download:     src.Download,
		Node: Node{
			Client:  facts.Client,
			Height:  facts.Head.Number,
			Peers:   facts.Peers,
			Syncing: facts.Syncing,
		},
	}
	// What an earlier process said is true of its own binary alone.
	if sup.Started.IsZero() || sup.Started.Equal(facts.Started) && !facts.FirstAnswer.IsZero() {
		st.Version, _, _ = strings.Cut(facts.Version, "-")
	}
	if facts.Head.Known() {
		st.Node.HeadAge = facts.Head.Age(now).Round(time.Second).String()
	}
	if !sup.Started.IsZero() {
		st.Uptime = now.Sub(sup.Started).Round(time.Second).String()
	}
	st.Change = changeOf(sup.Change)
	st.Gate, st.Consensus = gateOf(src.Gate), consensusOf(src.Consensus)
	for _, e := range src.Plans {
		if e.Stage.Pending() {
			st.Pending = append(st.Pending, Pending{e.Name, e.Height, e.Stage, e.Reason, e.BlocksLeft, e.ETA})
		}
	}
	if e := sup.Last; e != nil {
		st.LastExit = &Exit{Status: e.Exit.Status(), Text: e.Exit.String(), At: e.At, Killed: e.Killed, OOM: e.OOM, LastOutput: e.Words}
	}
	return st
}

func changeOf(p *supervisor.Progress) *Change {
	if p == nil {
		return nil
	}
	return &Change{Kind: p.Kind, Name: p.Name, Stage: p.Stage, Since: p.Since}
}
