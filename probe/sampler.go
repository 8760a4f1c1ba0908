package probe

import (
	"context"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// Resources is one sample of memory and disk.
type Resources struct {
	At     time.Time // zero: nothing sampled yet
	Until  time.Time // when it is too old to be believed; zero: never
	Memory Memory
	Disks  []Disk
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
type Sampler struct {
	cfg    SamplerConfig
	trends map[string]*trend // by path
}

// NewSampler returns a Sampler. Don't forget to Run it.
func NewSampler(cfg SamplerConfig) *Sampler {
	if cfg.Interval <= 0 {
		cfg.Interval = 30 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = log.NewNopLogger()
	}
	return &Sampler{cfg: cfg, trends: make(map[string]*trend)}
}

// Run samples until ctx is done.
//
// A sample is taken in a goroutine of its own, one at a time: statfs(2) of a
// network file system whose server is gone does not return, and must not keep
// us from ending. Until it returns nothing is pushed, and the last sample
// becomes too old.
func (s *Sampler) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	taken := make(chan Resources, 1) // room for one nobody waits for any more
	for {
		go func() { taken <- s.sample(time.Now()) }() // received below, unless it hangs when we end
		if err := s.await(ctx, taken); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// await pushes the sample when it is there.
func (s *Sampler) await(ctx context.Context, taken <-chan Resources) error {
	late := time.NewTimer(hangs)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-taken:
			if s.cfg.OnSample != nil {
				s.cfg.OnSample(r)
			}
			return nil
		case <-late.C:
			level.Warn(s.cfg.Logger).Log("msg", "file system hangs; waiting for it", "paths", strings.Join(s.cfg.Paths, ","))
		}
	}
}

// hangs is how long a sample may take before it is worth a line.
const hangs = 30 * time.Second

func (s *Sampler) sample(now time.Time) Resources {
	r := Resources{At: now, Until: now.Add(3*s.cfg.Interval + 10*time.Second)}
	if s.cfg.PID != nil {
		r.Memory = readMemory("/", s.cfg.PID())
	}
	for _, path := range s.cfg.Paths {
		d := readDisk(path)
		if d.Err == "" {
			if s.trends[path] == nil {
				s.trends[path] = &trend{}
			}
			d.FullIn = s.trends[path].add(now, d.Free)
		}
		r.Disks = append(r.Disks, d)
	}
	return r
}
