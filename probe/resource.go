package probe

import (
	"context"
	"time"

	"github.com/go-kit/log"
)

// Resources is one sample of memory and disk.
type Resources struct {
	At     time.Time // zero: nothing sampled yet
	Memory Memory
	Disks  []Disk
}

// Memory is what the node's process group occupies.
type Memory struct {
	RSS   uint64 // resident bytes; 0 when the node is down
	Held  uint64 // of these, what the kernel can't take back by dropping file pages
	Limit uint64 // of its cgroup, else of the host; 0 unknown
}

// Disk is the file system of one path.
type Disk struct {
	Path       string
	Size, Free uint64 // bytes; Free is what an unprivileged process may use
	Inodes     uint64 // 0: the file system does not count them
	InodesFree uint64
	FullIn     time.Duration // at the present rate; 0: not filling, or not known yet
	Err        string
}

// SamplerConfig is what a Sampler needs.
type SamplerConfig struct {
	Interval time.Duration // 30s
	Paths    []string      // whose file systems to watch
	PID      func() int    // of the node; 0 when it is down
	OnSample func(Resources)
	Logger   log.Logger
}

// Sampler measures memory and disk.
type Sampler struct{ cfg SamplerConfig }

// NewSampler returns a Sampler. Don't forget to Run it.
func NewSampler(cfg SamplerConfig) *Sampler { return &Sampler{cfg: cfg} }

// Run samples until ctx is done.
func (s *Sampler) Run(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
