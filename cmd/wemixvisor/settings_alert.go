package main

import "time"

// alertSettings say what people are told, and where.
type alertSettings struct {
	alertFor        time.Duration
	alertHeadAge    time.Duration
	alertMaxLag     int
	alertMinPeers   int
	alertMinFree    float64
	alertFullWithin time.Duration
	alertRemember   time.Duration
}

func (s *alertSettings) define(r *reader) {
	r.duration(&s.alertFor, "alert-for", time.Minute, 0, "how long the node must be down, behind or short of peers, or a disk filling, before it is an alert")
	r.duration(&s.alertHeadAge, "alert-head-age", 5*time.Minute, 0, "alert when no new block came for longer; 0 does not look, nor does a ready-max-head-age of 0")
	r.count(&s.alertMaxLag, "alert-max-lag", 100, "alert when further behind, in blocks; 0 does not look")
	r.count(&s.alertMinPeers, "alert-min-peers", 0, "alert with fewer peers; 0 does not look")
	r.percent(&s.alertMinFree, "alert-min-free", 10, "alert when less of a disk's bytes or inodes is free, or less than 20 GiB if that is less; 0% does not look")
	r.duration(&s.alertFullWithin, "alert-full-within", 6*time.Hour, 0, "alert when a disk will be full within this time at its present rate; 0 does not look")
	r.duration(&s.alertRemember, "alert-remember", 15*time.Minute, time.Second, "how long an alert stands of what happens and does not last: an OOM kill, a KILL, an unclean shutdown")
}
