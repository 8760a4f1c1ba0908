package alert

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// at runs a board over one rule whose answer the test sets, and returns what it
// told.
func at(t *testing.T, r Rule, play func(answer func(string), told func() string, b *Board)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var why atomic.Pointer[string]
		why.Store(new(string))
		r.Check = func(Scene) string { return *why.Load() }
		var mu sync.Mutex
		var told []string
		b := NewBoard(BoardConfig{
			Rules: []Rule{r},
			Scene: func() Scene { return Scene{} },
			OnAlert: func(a Alert) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, a.State+" "+a.Summary)
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx, nil) }() // joined below
		play(func(s string) { why.Store(&s) }, func() string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			text := fmt.Sprint(told)
			told = nil
			return text
		}, b)
		cancel()
		<-done
	})
}

func want(t *testing.T, want, have string) {
	t.Helper()
	if want != have {
		t.Errorf("want %s, have %s", want, have)
	}
}

func TestAnAlertFiresOnceAndIsResolvedOnce(t *testing.T) {
	t.Parallel()
	at(t, Rule{Name: "x", Severity: Warning, For: time.Minute}, func(answer func(string), told func() string, b *Board) {
		answer("bad")
		time.Sleep(59 * time.Second)
		want(t, "[]", told())
		answer("") // not for long enough: the count begins anew
		time.Sleep(2 * time.Second)
		answer("bad")
		time.Sleep(59 * time.Second)
		want(t, "[]", told())
		time.Sleep(time.Hour)
		want(t, "[firing bad]", told())
		answer("worse")
		time.Sleep(time.Hour)
		want(t, "[]", told())
		if have := b.Alerts(); len(have) != 1 || !have[0].Firing() || have[0].Summary != "worse" {
			t.Errorf("want it firing with its last word, have %+v", have)
		}
		answer("")
		time.Sleep(linger - 2*time.Second)
		answer(Unknown) // neither
		time.Sleep(time.Hour)
		answer("worse")
		time.Sleep(time.Minute)
		want(t, "[]", told())
		answer("")
		time.Sleep(time.Hour)
		want(t, "[resolved worse]", told())
		have := b.Alerts()
		if len(have) != 1 || have[0].Firing() || have[0].State != "resolved" || have[0].Resolved.Before(have[0].Since) {
			t.Errorf("want it resolved, have %+v", have)
		}
		if have := b.Tallies(); len(have) != 1 || have[0] != (Tally{"x", 1, false}) {
			t.Errorf("want one firing counted, have %+v", have)
		}
	})
}

func TestAValueThatSwingsIsToldLessAndLess(t *testing.T) {
	t.Parallel()
	at(t, Rule{Name: "x"}, func(answer func(string), told func() string, b *Board) {
		for range 3600 / 40 { // an hour of 20 s bad, 20 s good
			answer("bad")
			time.Sleep(20 * time.Second)
			answer("")
			time.Sleep(20 * time.Second)
		}
		told()
		if have := b.Tallies()[0].Fired; have != 2 {
			t.Errorf("want it to fire twice, the second time for long, have %d", have)
		}
		if have := len(b.Alerts()); have != 2 {
			t.Errorf("want both kept, have %d", have)
		}
	})
}

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	at(t, Rule{Name: "x"}, func(answer func(string), told func() string, b *Board) {
		for i := range 3 * history {
			answer(fmt.Sprint("bad ", i))
			time.Sleep(time.Minute)
			answer("")
			time.Sleep(time.Hour)
		}
		have := b.Alerts()
		if len(have) != history || have[0].Summary != fmt.Sprint("bad ", 3*history-1) {
			t.Errorf("want the last %d, newest first, have %d, first %+v", history, len(have), have[0])
		}
		if !slices.IsSortedFunc(have, func(x, y Alert) int { return y.Since.Compare(x.Since) }) {
			t.Error("want the newest first")
		}
		told()
	})
}

// TestTheLastMomentCounts has the supervisor end with a failure: the board must
// ask once more after it is closed, however short before that it asked.
func TestTheLastMomentCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var killed Event
		var told []string
		b := NewBoard(BoardConfig{
			Rules:   []Rule{{Name: "killed", Check: killed.Within(time.Minute)}},
			Scene:   func() Scene { return Scene{Now: time.Now()} },
			OnAlert: func(a Alert) { told = append(told, a.Summary) },
		})
		ctx, cancel := context.WithCancel(t.Context())
		closed, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- b.Run(ctx, closed) }() // joined below
		time.Sleep(1500 * time.Millisecond)
		cancel()
		time.Sleep(5 * time.Second) // the node takes its grace
		killed.Note(time.Now(), "SIGKILL")
		close(closed)
		<-done
		want(t, "[SIGKILL]", fmt.Sprint(told))
	})
}

func TestAnEventStandsForAWhile(t *testing.T) {
	t.Parallel()
	var e Event
	ask, now := e.Within(time.Minute), time.Now()
	want(t, "", ask(Scene{Now: now}))
	e.Note(now, "once")
	want(t, "once", ask(Scene{Now: now.Add(59 * time.Second)}))
	want(t, "", ask(Scene{Now: now.Add(time.Minute)}))
	e.Note(now.Add(30*time.Second), "twice")
	want(t, "twice", ask(Scene{Now: now.Add(time.Minute)}))
}
