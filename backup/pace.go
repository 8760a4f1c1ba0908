package backup

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"
)

// pace slows a reader down: to a rate, and for a while when others wait for the
// disk.
type pace struct {
	rate     int64       // bytes a second; 0: no limit
	gentle   func() bool // look at the pressure
	pressure string      // the kernel's file

	due    time.Time // when the bytes so far should have been read
	looked time.Time
	waited time.Duration // what the kernel had counted then
}

const (
	pressureFile = "/proc/pressure/io"
	// pressed is the share of time in which somebody waited for the disk, from
	// which on we make room, and look how often, and for how long at most.
	pressed     = 0.4
	lookEvery   = time.Second
	mostWaiting = 10
)

// wait returns when n more bytes may be read.
func (p *pace) wait(ctx context.Context, n int) error {
	if p.rate > 0 {
		now := time.Now()
		// What was not used is good for a tenth of a second.
		if earliest := now.Add(-time.Second / 10); p.due.Before(earliest) {
			p.due = earliest
		}
		p.due = p.due.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
		if err := Sleep(ctx, time.Until(p.due)); err != nil {
			return err
		}
	}
	if p.gentle == nil || time.Since(p.looked) < lookEvery || !p.gentle() {
		return ctx.Err()
	}
	for i := 0; p.look() > pressed && i < mostWaiting; i++ {
		if err := Sleep(ctx, lookEvery); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// look returns the share of the time since the last look in which somebody
// waited for the disk. Between two looks of a pause we read nothing, so then it
// is the others'.
func (p *pace) look() float64 {
	text, err := os.ReadFile(p.pressure)
	if err != nil { // an old kernel, or no rights: nobody to ask
		p.looked = time.Now()
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n") // some avg10=0.00 … total=123456
	_, total, _ := strings.Cut(line, "total=")
	us, _ := strconv.ParseInt(strings.TrimSpace(total), 10, 64)
	waited, now := time.Duration(us)*time.Microsecond, time.Now()
	share := 0.0
	if since := now.Sub(p.looked); !p.looked.IsZero() && since < 10*lookEvery {
		share = float64(waited-p.waited) / float64(since)
	}
	p.looked, p.waited = now, waited
	return share
}

// Sleep waits for d, or for the end of ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
