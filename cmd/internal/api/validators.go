package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/wemix/wemixvisor/probe/chain"
)

// Validators is the answer of GET /api/v1/validators: how the network agrees,
// as the node tells.
type Validators struct {
	Kind        string         `json:"kind"` // wbft, qbft, wemix or clique
	Height      uint64         `json:"height"`
	Asked       time.Time      `json:"asked"`
	Self        string         `json:"self"` // empty: the node has no account to seal with
	IsValidator bool           `json:"is_validator"`
	IsActive    bool           `json:"is_active"`
	Quorum      int            `json:"quorum"`
	Active      int            `json:"active"`
	Validators  []Validator    `json:"validators"`
	BlockPeriod string         `json:"block_period"` // 0s: not known
	Epoch       uint64         `json:"epoch"`
	EpochLength uint64         `json:"epoch_length"` // 0: not known
	Rounds      Rounds         `json:"rounds"`
	Turn        Turn           `json:"turn"`
	MayStop     bool           `json:"may_stop"`
	Reason      string         `json:"reason"`   // why not, or what it costs
	Versions    map[string]int `json:"versions"` // how many validators proposed with which; "" did not say
	Rollout     Rollout        `json:"rollout"`
	Forks       []chain.Fork   `json:"forks"` // that the running node knows
	Producer    *Producer      `json:"producer"`
	Error       string         `json:"error"` // what the node would not say
}

// Validator is one of those who seal.
type Validator struct {
	Address    string `json:"address"`
	Name       string `json:"name,omitempty"`
	Self       bool   `json:"self"`
	Active     bool   `json:"active"`
	Sealed     int    `json:"sealed"` // blocks of the window
	LastActive uint64 `json:"last_active"`
	Version    string `json:"version"`
}

// Rounds says how smoothly the last blocks came.
type Rounds struct {
	Window int    `json:"window"` // blocks looked at
	Late   int    `json:"late"`   // those that took more than one round
	Max    uint64 `json:"max"`
}

// Turn is when the node may be stopped for something planned.
type Turn struct {
	Length uint64  `json:"length"` // blocks
	First  uint64  `json:"first"`  // of the present turn, whosever it is
	Index  int     `json:"index"`  // -1: the node was no validator when it began
	Of     int     `json:"of"`
	Next   *uint64 `json:"next"` // where its own begins; null: not known
}

// Rollout counts those who propose with the node's own version or a later one.
type Rollout struct {
	Version string `json:"version"`
	Have    int    `json:"have"`
	Want    int    `json:"want"`
}

// Producer is what only go-wemix has.
type Producer struct {
	Name   string   `json:"name"`
	Token  string   `json:"token"`
	Leader string   `json:"leader"`
	Up     []string `json:"up"`
	Down   []string `json:"down"`
}

func (s *Server) validators(*http.Request) (Validators, error) {
	c, version := s.cfg.Consensus()
	if c.Kind == "" {
		why := "the node has no consensus to ask about"
		switch {
		case c.Started.IsZero():
			why = "the node is down"
		case c.Err != "":
			why = c.Err
		case !c.Known:
			why = "the node has not told yet"
		}
		return Validators{}, fault{http.StatusNotImplemented, "no_consensus", fmt.Errorf("validators not known: %s", why)}
	}
	return ValidatorsOf(c, version, time.Now()), nil
}

// ValidatorsOf shapes what is known of the consensus at now, by a node of version.
func ValidatorsOf(c chain.Consensus, version string, now time.Time) Validators {
	may, reason := c.MayStop(now)
	v := Validators{
		Kind: c.Kind, Height: c.Head.Number, Asked: c.Asked, Self: c.Self,
		IsValidator: c.IsValidator(), IsActive: c.IsActive(), Quorum: c.Quorum, Active: c.Active(),
		Validators:  []Validator{},
		BlockPeriod: c.BlockPeriod.String(), Epoch: c.Epoch(), EpochLength: c.EpochLength,
		Rounds:  Rounds{Window: c.Window, Late: c.Late, Max: c.MaxRound},
		Turn:    Turn{Length: c.Slot.Length, First: c.Slot.First, Index: c.Slot.Index, Of: c.Slot.Of},
		MayStop: may, Reason: reason,
		Versions: c.Versions(),
		Rollout:  Rollout{Version: version},
		Forks:    append([]chain.Fork{}, c.Forks...),
		Error:    c.Err,
	}
	for _, one := range c.Validators {
		v.Validators = append(v.Validators, Validator{
			Address: one.Address, Name: one.Name, Self: one.Self, Active: one.Active,
			Sealed: one.Sealed, LastActive: one.LastActive, Version: one.Version,
		})
	}
	if next, ok := c.Slot.Next(c.Head.Number); ok {
		v.Turn.Next = &next
	}
	if version != "" {
		v.Rollout.Have, v.Rollout.Want = c.Rollout(version)
	}
	if p := c.Producer; p != nil {
		v.Producer = &Producer{Name: p.Name, Token: p.Token, Leader: p.Leader, Up: []string{}, Down: []string{}}
		for _, m := range p.Members {
			if m.Up || m.Self {
				v.Producer.Up = append(v.Producer.Up, m.Name)
			} else {
				v.Producer.Down = append(v.Producer.Down, m.Name)
			}
		}
	}
	return v
}

// Consensus is what a status says of how the network agrees. Who seals and with
// which version is in Validators.
type Consensus struct {
	Kind        string `json:"kind"`
	Self        string `json:"self"`
	IsValidator bool   `json:"is_validator"`
	IsActive    bool   `json:"is_active"`
	Validators  int    `json:"validators"`
	Active      int    `json:"active"`
	Quorum      int    `json:"quorum"`
}

// consensusOf is nil where there is none, or nobody has told yet.
func consensusOf(c chain.Consensus) *Consensus {
	if c.Kind == "" {
		return nil
	}
	return &Consensus{
		Kind: c.Kind, Self: c.Self, IsValidator: c.IsValidator(), IsActive: c.IsActive(),
		Validators: len(c.Validators), Active: c.Active(), Quorum: c.Quorum,
	}
}

// Gate is why a planned stop of a validator waits.
type Gate struct {
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

func gateOf(g Gate) *Gate {
	if g.Reason == "" {
		return nil
	}
	return &g
}
