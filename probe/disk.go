package probe

import (
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// enoughFree is enough on any disk: five percent of a large one is not
	// scarcity.
	enoughFree = 10 << 30

	// A disk that fills within fullSoon is short while it is still half empty,
	// but a burst is no trend.
	fullSoon   = 30 * time.Minute
	trendShort = 2 * time.Minute
	trendLong  = 30 * time.Minute
)

// Disk is the file system of one path.
type Disk struct {
	Path       string
	Size, Free uint64        // bytes; Free is what an unprivileged process may use
	Inodes     uint64        // 0: the file system does not count them
	InodesFree uint64        //
	FullIn     time.Duration // at the present rate; 0: not filling, or not known yet
	Err        string        // why the rest is not known
}

// String says how much is free.
func (d Disk) String() string { return fmt.Sprintf("%s of %s free", size(d.Free), size(d.Size)) }

// readDisk measures the file system that path is on, or would be on: a data
// directory is made by the node's first start.
func readDisk(path string) Disk {
	d := Disk{Path: path}
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	for dir := filepath.Clean(path); err == unix.ENOENT && dir != filepath.Dir(dir); {
		dir = filepath.Dir(dir)
		err = unix.Statfs(dir, &st)
	}
	if err != nil {
		d.Err = err.Error()
		return d
	}
	d.Size, d.Free = st.Blocks*uint64(st.Bsize), st.Bavail*uint64(st.Bsize)
	d.Inodes, d.InodesFree = st.Files, st.Ffree
	return d
}

// diskCheck is red as soon as one disk is, and green again when all have room.
func (p *Prober) diskCheck() Check {
	r := p.Resources()
	if !r.Until.IsZero() && p.cfg.Now().After(r.Until) {
		return check("disk", fmt.Sprintf("no sample for %s: a file system hangs", round(p.cfg.Now().Sub(r.At))))
	}
	bad, well, wrong := false, true, ""
	for _, d := range r.Disks {
		b, w, text := p.short(d)
		bad, well = bad || b, well && w
		if wrong == "" && !w || b && text != "" {
			wrong = d.Path + ": " + text
		}
	}
	if !p.disk.over(bad, well) {
		return check("disk", "")
	}
	return check("disk", wrong)
}

// short judges one disk: beyond the limit, or well inside, and in what words.
func (p *Prober) short(d Disk) (bad, well bool, text string) {
	if d.Err != "" {
		return true, false, d.Err
	}
	need := min(float64(d.Size)*p.cfg.MinFree/100, enoughFree)
	needInodes := float64(d.Inodes) * p.cfg.MinFree / 100
	free, inodes := float64(d.Free), float64(d.InodesFree)
	text = d.String()
	switch {
	case free < need:
		return true, false, text
	case d.Inodes > 0 && inodes < needInodes:
		return true, false, fmt.Sprintf("%d of %d inodes free", d.InodesFree, d.Inodes)
	case d.FullIn > 0 && d.FullIn < fullSoon && free < float64(d.Size)/2:
		return true, false, text + ", full in " + round(d.FullIn).String()
	}
	well = free >= need*1.2 && (d.Inodes == 0 || inodes >= needInodes*1.2) &&
		(d.FullIn == 0 || d.FullIn >= fullSoon*6/5)
	return false, well, text
}

// trend is the free space of one disk over the last half hour.
type trend struct {
	at   []time.Time
	free []uint64
}

// add takes a sample and returns when the disk will be full at the rate since
// the oldest one; 0 when it does not fill, or too little is known.
func (t *trend) add(now time.Time, free uint64) time.Duration {
	t.at, t.free = append(t.at, now), append(t.free, free)
	for now.Sub(t.at[0]) > trendLong {
		t.at, t.free = t.at[1:], t.free[1:]
	}
	span := now.Sub(t.at[0])
	if span < trendShort || t.free[0] <= free {
		return 0
	}
	rate := float64(t.free[0]-free) / span.Seconds()
	left := float64(free) / rate
	if left > (365 * 24 * time.Hour).Seconds() {
		return 0
	}
	return max(time.Duration(left*float64(time.Second)), time.Second)
}
