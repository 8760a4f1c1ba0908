package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// litter is how many orphans one subshell of the storm leaves behind.
const litter = 10

// stormScript makes that many orphans for each line it reads, and answers when
// it has forked the last. A subshell that forks and ends without waiting is
// the cheapest way to an orphan; programs executed for it would take longer
// than collecting it does.
func stormScript(orphans int) string {
	return fmt.Sprintf(`while read -r go; do i=0; while [ $i -lt %d ]; do (%s); i=$((i+1)); done; echo forked; done`,
		orphans/litter, strings.Repeat(" : &", litter))
}

// storm is an init with a child that makes orphans.
type storm struct {
	*box
	c       contestant
	idleRSS float64
	peak    int // most zombies seen at once
}

func openStorm(ctx context.Context, c contestant, orphans int) (*storm, error) {
	dash, err := exec.LookPath("dash") // bash forks at a third of its speed
	if err != nil {
		return nil, err
	}
	b, err := open(ctx, c, dash, "-c", stormScript(orphans))
	if err != nil {
		return nil, err
	}
	return &storm{box: b, c: c}, nil
}

// rage returns the time from the first fork until the last orphan is collected.
func (s *storm) rage(ctx context.Context) (time.Duration, error) {
	before := processes()
	began := clock()
	if err := s.tell("go"); err != nil {
		return 0, err
	}
	forked := make(chan error, 1)
	go func() { // ends with the line, or its time, or the namespace
		_, err := s.hear(3 * patience)
		forked <- err
	}()
	look := time.NewTicker(10 * time.Millisecond) // a look every moment would slow the storm
	defer look.Stop()
	for {
		select {
		case err := <-forked:
			if err != nil {
				return 0, err
			}
			return s.clean(ctx, began, before)
		case <-look.C:
			_, zombies, err := census(s.pid())
			if err != nil {
				return 0, s.fail("count zombies", err)
			}
			s.peak = max(s.peak, zombies)
		}
	}
}

// drain lets all orphans pile up while PID 1 is stopped, and returns the time
// from its wake-up until the last is collected: collecting alone, without the
// forking that rage is mostly made of.
func (s *storm) drain(ctx context.Context) (time.Duration, error) {
	before := processes()
	if err := s.proc.Signal(syscall.SIGSTOP); err != nil { // from outside the namespace, PID 1 obeys it
		return 0, s.fail("stop", err)
	}
	if err := s.tell("go"); err != nil {
		return 0, err
	}
	if _, err := s.hear(3 * patience); err != nil {
		return 0, err
	}
	time.Sleep(10 * time.Millisecond) // the last ones end
	began := clock()
	if err := s.proc.Signal(syscall.SIGCONT); err != nil {
		return 0, s.fail("continue", err)
	}
	return s.clean(ctx, began, before)
}

// clean waits until PID 1 and its child are alone and returns the time since
// began. A census of thousands would disturb who collects them, so it waits
// for the machine's number of processes to come down first; that number is
// others' too, so now and then it looks anyhow.
func (s *storm) clean(ctx context.Context, began int64, before int) (time.Duration, error) {
	const few = 50
	looked := clock()
	for since(began) < 4*patience {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if processes() <= before+few || since(looked) > 250*time.Millisecond {
			at := clock() // before the look, which takes its time, too
			living, zombies, err := census(s.pid())
			if err != nil {
				return 0, s.fail("count zombies", err)
			}
			if living <= 2 && zombies == 0 {
				return time.Duration(at - began), nil
			}
			looked = clock()
		}
		time.Sleep(100 * time.Microsecond)
	}
	return 0, s.fail("wait for it to collect", errors.New("zombies stay"))
}
