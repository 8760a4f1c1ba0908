package fetch

import "time"

// Progress tells how far a download is.
type Progress struct {
	Done  int64   // bytes on disk, those of earlier attempts included
	Total int64   // bytes; 0: the server did not say
	Rate  float64 // bytes per second, lately
}

// progressEvery bounds how often an observer is called.
const progressEvery = 250 * time.Millisecond

// meter tells an observer, and not more often than it wants to hear.
type meter struct {
	tell func(Progress)
	last Progress
	at   time.Time
}

func (m *meter) update(done, total int64, final bool) {
	now := time.Now()
	if m.tell == nil || !final && now.Sub(m.at) < progressEvery {
		return
	}
	rate := m.last.Rate
	if span := now.Sub(m.at); m.at.IsZero() || done < m.last.Done {
		rate = 0 // a beginning
	} else if span >= progressEvery {
		rate = float64(done-m.last.Done) / span.Seconds()
		if m.last.Rate > 0 { // smooth, or the time that is left jumps
			rate = 0.7*m.last.Rate + 0.3*rate
		}
	}
	m.last, m.at = Progress{Done: done, Total: total, Rate: rate}, now
	m.tell(m.last)
}
