package probe

import "time"

// Limits are what of a Config may change while the node runs.
type Limits struct {
	MaxHeadAge        time.Duration
	LiveMaxRPCSilence time.Duration
	MinPeers          int
	MaxLag            uint64
}

func (c Config) limits() *Limits {
	return &Limits{c.MaxHeadAge, c.LiveMaxRPCSilence, c.MinPeers, c.MaxLag}
}

// SetLimits judges by l from now on. What was crossed of the old limits is
// forgotten: margins are those of the new ones.
func (p *Prober) SetLimits(l Limits) {
	if *p.limits.Swap(&l) != l {
		p.headAge.crossed.Store(false)
		p.lag.crossed.Store(false)
	}
}
