package chain

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Fork is a change of the chain's rules that a binary knows: at a block, or at
// a time.
type Fork struct {
	Name  string    `json:"name"`
	Block uint64    `json:"block,omitempty"`
	Time  time.Time `json:"time,omitzero"` // then Block says nothing
}

// maxForks bounds what one node may claim.
const maxForks = 256

// Passed reports whether head is at or past the fork.
func (f Fork) Passed(head Head) bool {
	if f.Time.IsZero() {
		return f.Block <= head.Number
	}
	return !f.Time.After(head.Time)
}

// ForksBetween returns the forks that to is at or past and from is not.
func ForksBetween(forks []Fork, from, to Head) []Fork {
	var between []Fork
	for _, f := range forks {
		if f.Passed(to) && !f.Passed(from) {
			between = append(between, f)
		}
	}
	return between
}

// ForksOnlyIn returns what of forks is not in others: another height is another
// fork.
func ForksOnlyIn(forks, others []Fork) []Fork {
	var only []Fork
	for _, f := range forks {
		if !slices.ContainsFunc(others, f.equal) {
			only = append(only, f)
		}
	}
	return only
}

func (f Fork) equal(o Fork) bool {
	return f.Name == o.Name && f.Block == o.Block && f.Time.Equal(o.Time)
}

// ForksUntil returns the forks between the head and height. When a fork by time
// comes is reckoned by the block period.
func (c Consensus) ForksUntil(height uint64) []Fork {
	if !c.Head.Known() || height <= c.Head.Number {
		return nil
	}
	// Not beyond some centuries: a Duration ends there.
	blocks := min(height-c.Head.Number, uint64(1<<32))
	at := Head{Number: height, Time: c.Head.Time.Add(time.Duration(min(float64(blocks)*float64(c.period()), 1<<62)))}
	return ForksBetween(c.Forks, c.Head, at)
}

// nodeConfig is what admin_nodeInfo tells of the chain's rules.
type nodeConfig struct {
	forks  []Fork
	period time.Duration // zero unknown
	epoch  uint64
}

// readNodeInfo takes the rules out of admin_nodeInfo: every number of the chain
// config whose name ends in Block or Time, whatever the network calls it, and
// the lists of go-wbft that are in force from a block.
func readNodeInfo(answer json.RawMessage) nodeConfig {
	var info struct {
		Protocols map[string]json.RawMessage `json:"protocols"`
	}
	var cfg nodeConfig
	if json.Unmarshal(answer, &info) != nil {
		return cfg
	}
	// The istanbul entry knows more than eth's; mir is go-wemix's name for eth.
	for _, protocol := range []string{"istanbul", "eth", "mir"} {
		var p struct {
			Config map[string]json.RawMessage `json:"config"`
		}
		if json.Unmarshal(info.Protocols[protocol], &p) != nil {
			continue
		}
		for key, value := range p.Config {
			cfg.take(key, value)
		}
	}
	slices.SortFunc(cfg.forks, func(a, b Fork) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		if a.Block != b.Block {
			if a.Block < b.Block {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return cfg
}

func (cfg *nodeConfig) take(key string, value json.RawMessage) {
	var number uint64
	if json.Unmarshal(value, &number) == nil && string(value) != "null" {
		switch {
		case strings.HasSuffix(key, "Block"):
			cfg.add(Fork{Name: strings.TrimSuffix(key, "Block"), Block: number})
		case strings.HasSuffix(key, "Time") && number < 1<<40:
			cfg.add(Fork{Name: strings.TrimSuffix(key, "Time"), Time: time.Unix(int64(number), 0)})
		}
		return
	}
	var lists []struct {
		Block *uint64 `json:"block"`
	}
	if key == "transitions" || key == "upgrades" {
		if json.Unmarshal(value, &lists) == nil {
			for _, l := range lists {
				if l.Block != nil {
					cfg.add(Fork{Name: strings.TrimSuffix(key, "s"), Block: *l.Block})
				}
			}
		}
		return
	}
	cfg.engine(key, value)
}

// engine reads the settings of the consensus: {"anzeon":{"wbft":{…}}},
// {"croissant":{"wBFT":{…}}}, {"qbft":{…}}, {"clique":{…}}. Names differ in case
// between networks, which encoding/json overlooks.
func (cfg *nodeConfig) engine(key string, value json.RawMessage) {
	type engine struct {
		Seconds uint64 `json:"blockPeriodSeconds"`
		Period  uint64 `json:"period"`
		Length  uint64 `json:"epochLength"`
		Epoch   uint64 `json:"epoch"`
	}
	var e struct {
		engine
		WBFT *engine `json:"wbft"`
	}
	if json.Unmarshal(value, &e) != nil {
		return
	}
	switch {
	case e.WBFT != nil:
		e.engine = *e.WBFT
	case key != "qbft" && key != "ibft" && key != "istanbul" && key != "clique":
		return
	}
	if seconds := max(e.Seconds, e.Period); seconds > 0 && seconds < 1<<20 {
		cfg.period = time.Duration(seconds) * time.Second
	}
	if length := max(e.Length, e.Epoch); length > 0 {
		cfg.epoch = length
	}
}

func (cfg *nodeConfig) add(f Fork) {
	if f.Name = clip(f.Name, 64); len(cfg.forks) < maxForks && !slices.ContainsFunc(cfg.forks, f.equal) {
		cfg.forks = append(cfg.forks, f)
	}
}
