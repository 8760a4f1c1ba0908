package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// course is how much of everything a round has.
type course struct {
	starts  int
	signals int
	orphans int
	settle  time.Duration // until the memory of an init is read
	lull    time.Duration // until wake-ups are counted: a Go runtime comes to rest in its second second
	idle    time.Duration // over which wake-ups are counted
	enough  time.Duration // no round begins that would end after it
}

var full = course{
	starts:  20,
	signals: 500,
	orphans: 10_000,
	settle:  time.Second,
	lull:    3 * time.Second,
	idle:    10 * time.Second,
	enough:  150 * time.Second,
}

// measure fills t and returns how many rounds there was time for.
func (c course) measure(ctx context.Context, t *table, supervisor string, rounds int) (int, error) {
	began := time.Now()
	fmt.Fprintf(os.Stderr, "bench: idle for %v\n", c.lull+c.idle)
	if err := c.doNothing(ctx, t, supervisor); err != nil {
		return 0, err
	}
	resting := time.Since(began)
	for r := range rounds {
		spent := time.Since(began)
		if r > 0 && spent+(spent-resting)/time.Duration(r) > c.enough {
			return r, nil
		}
		fmt.Fprintf(os.Stderr, "bench: round %d of %d\n", r+1, rounds)
		if err := c.round(ctx, t, r); err != nil {
			return 0, err
		}
	}
	return rounds, nil
}

// doNothing measures what needs time and no work, of all at once.
func (c course) doNothing(ctx context.Context, t *table, supervisor string) error {
	i, err := openIdlers(ctx, t.contestants, supervisor)
	if err != nil {
		return err
	}
	defer i.close()
	if err := rest(ctx, c.lull); err != nil {
		return err
	}
	wakeups, run, err := i.measure(ctx, c.idle)
	if err != nil {
		return err
	}
	for name, v := range wakeups {
		t.wakes.add(name, v)
	}
	if i.run != nil {
		t.runRSS.add(t.judged, run)
	}
	return nil
}

func (c course) round(ctx context.Context, t *table, r int) error {
	for n := range c.starts {
		for _, who := range rotated(t.contestants, r+n) {
			start, exit, err := measureStart(ctx, who)
			if err != nil {
				return err
			}
			t.start.addMillis(who.name, start)
			t.exit.addMillis(who.name, exit)
		}
	}
	for _, who := range rotated(t.contestants, r) {
		hops, lost, err := measureHop(ctx, who, c.signals)
		if err != nil {
			return err
		}
		t.lost.add(who.name, float64(lost))
		if len(hops) > 0 {
			t.p50.add(who.name, percentile(hops, 50))
			t.p99.add(who.name, percentile(hops, 99))
		}
	}
	return c.storms(ctx, t, r)
}

// storms are measured one at a time; the waiting before and after is shared.
func (c course) storms(ctx context.Context, t *table, r int) error {
	var all []*storm
	defer func() {
		for _, s := range all {
			s.close()
		}
	}()
	for _, who := range rotated(inits(t.contestants), r) {
		s, err := openStorm(ctx, who, c.orphans)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	if err := rest(ctx, c.settle); err != nil {
		return err
	}
	var err error
	for _, s := range all {
		if s.idleRSS, err = rss(s.pid()); err != nil {
			return s.fail("read its memory", err)
		}
		t.rss.add(s.c.name, s.idleRSS)
	}
	for _, s := range all {
		took, err := s.rage(ctx)
		if err != nil {
			return err
		}
		t.storm.addMillis(s.c.name, took)
		t.peak.add(s.c.name, float64(s.peak))
	}
	if err := rest(ctx, time.Second); err != nil {
		return err
	}
	for _, s := range all {
		_, zombies, err := census(s.pid())
		if err != nil {
			return s.fail("count zombies", err)
		}
		t.left.add(s.c.name, float64(zombies))
		after, err := rss(s.pid())
		if err != nil {
			return s.fail("read its memory", err)
		}
		t.growth.add(s.c.name, after-s.idleRSS)
	}
	for _, s := range all {
		took, err := s.drain(ctx)
		if err != nil {
			return err
		}
		t.drain.addMillis(s.c.name, took)
	}
	return nil
}
