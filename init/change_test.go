package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/reaper"
)

// steps records which steps of a change ran.
type steps struct {
	mu   sync.Mutex
	took []string
}

func (s *steps) step(name string, f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		s.mu.Lock()
		s.took = append(s.took, name)
		s.mu.Unlock()
		if f == nil {
			return nil
		}
		return f(ctx)
	}
}

// back is step for a Revert, which is told why.
func (s *steps) back(f func(context.Context) error) func(context.Context, error) error {
	step := s.step("revert", f)
	return func(ctx context.Context, why error) error {
		if why == nil {
			return errors.New("reverted for no reason")
		}
		return step(ctx)
	}
}

func (s *steps) String() (text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.took {
		text += name + " "
	}
	return text
}

const (
	oldNode = "echo old; exec sleep 1000"
	newNode = "echo new; exec sleep 1000"
)

func TestChange(t *testing.T) {
	why := errors.New("no")
	fail := func(context.Context) error { return why }
	for _, tc := range []struct {
		name    string
		node    string // what Apply puts in the place of the old one; "-" removes it
		apply   func(context.Context) error
		confirm func(context.Context) error
		want    error
		steps   string
		says    string // what runs in the end
	}{
		{"confirmed", newNode, nil, nil, nil, "apply confirm ", "new"},
		{"not applied", newNode, fail, nil, why, "apply revert ", "old"},
		{"not confirmed", newNode, nil, fail, why, "apply confirm revert ", "old"},
		{"does not start", "-", nil, nil, reaper.ErrNotFound, "apply revert ", "old"},
		{"exits", "echo new; exit 0", nil, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }, ErrExited, "apply confirm revert ", "old"},
		{"exits, and was confirmed", "echo new; while [ ! -e confirmed ]; do sleep 0.01; done; exit 0", nil, nil, ErrExited, "apply confirm revert ", "old"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s steps
			g := newRig(t, oldNode, nil)
			g.says("old", 1)
			old := g.is(Running).Pid
			confirm := tc.confirm
			if tc.name == "exits, and was confirmed" {
				confirm = func(ctx context.Context) error {
					g.write("confirmed", "")
					<-ctx.Done()
					if have := context.Cause(ctx); !errors.Is(have, ErrExited) {
						t.Errorf("want ErrExited, have %v", have)
					}
					return nil
				}
			}
			err := g.Change(context.Background(), Change{
				Kind: "test", Name: "v2",
				Apply: s.step("apply", func(ctx context.Context) error {
					if alive(old) || g.Process() != nil {
						t.Error("the old node is alive")
					}
					if have := g.Status().Change; have == nil || have.Kind != "test" || have.Name != "v2" || have.Stage != "applying" {
						t.Errorf("have %+v", have)
					}
					if tc.node == "-" {
						g.remove("node")
					} else {
						g.write("node", tc.node)
					}
					if tc.apply != nil {
						return tc.apply(ctx)
					}
					return nil
				}),
				Confirm: s.step("confirm", confirm),
				Revert: s.back(func(context.Context) error {
					if g.Process() != nil {
						t.Error("the new node is alive")
					}
					g.write("node", oldNode)
					return nil
				}),
			})
			if !errors.Is(err, tc.want) || tc.want == nil && err != nil {
				t.Errorf("want %v, have %v", tc.want, err)
			}
			if s.String() != tc.steps {
				t.Errorf("want %q, have %q", tc.steps, s.String())
			}
			if tc.says == "old" {
				g.says("old", 2)
			} else {
				g.says("new", 1)
			}
			if st := g.Status(); st.State != Running || st.Change != nil || st.Restarts != 0 || st.Held {
				t.Errorf("have %+v", st)
			}
		})
	}
}

func TestChangeWithoutSteps(t *testing.T) {
	g := newRig(t, "echo run; exec sleep 1000", nil)
	g.says("run", 1)
	g.must(g.Change(context.Background(), Change{Kind: "nothing"}))
	g.says("run", 2)
}

func TestChangeThatCannotBeReverted(t *testing.T) {
	g := newRig(t, oldNode, nil)
	g.says("old", 1)
	no, never := errors.New("no"), errors.New("never")
	err := g.Change(context.Background(), Change{
		Kind:   "test",
		Apply:  func(context.Context) error { return no },
		Revert: func(context.Context, error) error { return never },
	})
	if !errors.Is(err, no) || !errors.Is(err, never) {
		t.Errorf("want both, have %v", err)
	}
	if st := g.Status(); st.State != Stopped || !st.Held || !st.Stuck || st.Change != nil {
		t.Errorf("have %+v", st)
	}
	g.must(g.Start(context.Background(), nil)) // by hand it may be tried
	g.says("old", 2)
	if st := g.Status(); st.Stuck {
		t.Errorf("want it to run again, have %+v", st)
	}
}

// The end of the supervisor reverts nothing: a journal decides.
func TestChangeAtTheEnd(t *testing.T) {
	for _, tc := range []struct {
		name  string
		stage string
		steps string
	}{
		{"stopping", "stopping", ""},
		{"applying", "applying", "apply "},
		{"confirming", "confirming", "apply confirm "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s steps
			g := newRig(t, "trap 'sleep 0.2; exit 0' TERM; echo run; while :; do sleep 0.02; done", nil)
			g.says("run", 1)
			block := func(stage string) func(context.Context) error {
				return func(ctx context.Context) error {
					if tc.stage == stage {
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				}
			}
			changed := make(chan error, 1)
			go func() {
				changed <- g.Change(context.Background(), Change{
					Kind:    "test",
					Apply:   s.step("apply", block("applying")),
					Confirm: s.step("confirm", block("confirming")),
					Revert:  s.back(nil),
				})
			}()
			eventually(t, tc.stage, func() bool {
				c := g.Status().Change
				return c != nil && c.Stage == tc.stage
			})
			g.cancel()
			if err := <-changed; !errors.Is(err, context.Canceled) {
				t.Errorf("want context.Canceled, have %v", err)
			}
			g.must(g.result())
			if s.String() != tc.steps {
				t.Errorf("want %q, have %q", tc.steps, s.String())
			}
			if st := g.Status(); st.State != Stopped || st.Pid != 0 {
				t.Errorf("have %+v", st)
			}
		})
	}
}

// Who gives up on a change does not stop it.
func TestChangeOutlivesItsCaller(t *testing.T) {
	g := newRig(t, "echo run; exec sleep 1000", nil)
	g.says("run", 1)
	ctx, cancel := context.WithCancel(context.Background())
	applying, apply := make(chan struct{}), make(chan struct{})
	changed := make(chan error, 1)
	go func() {
		changed <- g.Change(ctx, Change{Kind: "test", Apply: func(ctx context.Context) error {
			close(applying)
			<-apply
			return ctx.Err()
		}})
	}()
	<-applying
	cancel()
	g.wants(<-changed, context.Canceled)
	close(apply)
	g.says("run", 2)
}

func TestBudget(t *testing.T) {
	now := time.Unix(1000, 0)
	b := budget{max: 8, window: time.Hour}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		have, ok := b.take(now)
		if want *= time.Second; !ok || have < want*8/10 || have > want*12/10 {
			t.Errorf("%d: want about %s, have %s, %v", i, want, have, ok)
		}
		now = now.Add(time.Minute)
	}
	if have, ok := b.take(now); ok {
		t.Errorf("it is spent, have %s", have)
	}
	now = time.Unix(1000, 0).Add(time.Hour) // the first is forgotten
	if have, ok := b.take(now); !ok || have < 48*time.Second {
		t.Errorf("want the longest, have %s, %v", have, ok)
	}
	if have, ok := b.take(now.Add(2 * time.Hour)); !ok || have > 1200*time.Millisecond {
		t.Errorf("want it anew, have %s, %v", have, ok)
	}
	none := budget{window: time.Hour}
	if _, ok := none.take(now); ok {
		t.Error("there was none")
	}
}

func TestStates(t *testing.T) {
	for _, s := range []State{Stopped, Starting, Running, Stopping, Backoff, Failed} {
		if !slices.Contains(States, s) {
			t.Errorf("%s is missing", s)
		}
	}
}

// A change may come first: it sees no node, and one start follows.
func TestNextBeforeTheFirstStart(t *testing.T) {
	for _, tc := range []struct {
		name    string
		confirm func(context.Context) error
		steps   string
		says    string
	}{
		{"confirmed", nil, "apply confirm ", "new"},
		{"not confirmed", func(context.Context) error { return errors.New("no") }, "apply confirm revert ", "old"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s steps
			over := make(chan error, 1)
			var g *rig
			g = prepareRig(t, oldNode, func(c *Config) {
				c.Next = func(_ context.Context, end *Ended) *Change {
					if end != nil {
						return nil
					}
					return &Change{
						Kind: "test",
						Apply: s.step("apply", func(context.Context) error {
							g.write("node", newNode)
							return nil
						}),
						Confirm: s.step("confirm", tc.confirm),
						Revert: s.back(func(context.Context) error {
							g.write("node", oldNode)
							return nil
						}),
						Over: func(err error) { over <- err },
					}
				}
			})
			g.run()
			if err := <-over; (err != nil) != (tc.says == "old") {
				t.Errorf("have %v", err)
			}
			g.says(tc.says, 1)
			if s.String() != tc.steps {
				t.Errorf("want %q, have %q", tc.steps, s.String())
			}
			if st := g.is(Running); st.Restarts != 0 || st.Change != nil {
				t.Errorf("have %+v", st)
			}
		})
	}
}

// An exit that becomes a change is no crash; one that does not, is.
func TestNextAfterAnExit(t *testing.T) {
	var g *rig
	asked := make(chan Ended, 3)
	g = prepareRig(t, "echo old; exit 7", func(c *Config) {
		c.MaxRestarts = 1
		c.Next = func(_ context.Context, end *Ended) *Change {
			if end == nil {
				return nil
			}
			asked <- *end
			if end.Exit.Code != 7 {
				return nil
			}
			return &Change{Kind: "test", Apply: func(context.Context) error {
				if st := g.Status(); st.Last == nil || st.Last.Exit.Code != 7 || st.Last.Asked {
					t.Errorf("have %+v", st.Last)
				}
				g.write("node", "echo new; exit 3")
				return nil
			}}
		}
	})
	g.run()
	g.wants(g.result(), ErrCrashLoop) // of the new one
	for _, want := range []int{7, 3, 3} {
		if end := <-asked; end.Exit.Code != want || end.Asked {
			t.Errorf("want %d, have %+v", want, end)
		}
	}
	if st := g.Status(); st.Restarts != 1 {
		t.Errorf("want one restart, have %+v", st)
	}
}

// A request is not held up for long while Next thinks, nor does it interleave.
func TestNextKeepsTheLoopAlive(t *testing.T) {
	thinking, thought := make(chan struct{}), make(chan struct{})
	g := newRig(t, "echo run; exec sleep 1000", func(c *Config) {
		c.Next = func(context.Context, *Ended) *Change {
			close(thinking)
			<-thought
			return nil
		}
	})
	<-thinking
	g.wants(g.Restart(context.Background(), nil), ErrBusy)
	close(thought)
	g.says("run", 1)
}

func TestChangeAfterWhichTheSupervisorLeaves(t *testing.T) {
	var s steps
	g := newRig(t, oldNode, nil)
	g.says("old", 1)
	err := g.Change(context.Background(), Change{
		Kind:   "test",
		Apply:  func(context.Context) error { return ErrLeave },
		Revert: s.back(nil),
	})
	g.wants(err, ErrLeave)
	g.wants(g.result(), ErrLeave)
	if st := g.Status(); st.State != Stopped || st.Pid != 0 || s.String() != "" {
		t.Errorf("have %+v, steps %q", st, s.String())
	}
}

func TestRevertThatHoldsTheNodeDown(t *testing.T) {
	g := newRig(t, oldNode, nil)
	g.says("old", 1)
	err := g.Change(context.Background(), Change{
		Kind:   "test",
		Apply:  func(context.Context) error { return errors.New("no") },
		Revert: func(context.Context, error) error { return fmt.Errorf("past the fork: %w", ErrHold) },
	})
	g.wants(err, ErrHold)
	if st := g.Status(); st.State != Stopped || !st.Held || st.Reason != "past the fork: held down" {
		t.Errorf("have %+v", st)
	}
}

func TestStage(t *testing.T) {
	g := newRig(t, oldNode, nil)
	g.says("old", 1)
	var have []string
	look := func() { have = append(have, g.Status().Change.Stage) }
	g.must(g.Change(context.Background(), Change{
		Kind: "test",
		Apply: func(context.Context) error {
			look()
			g.Stage("copying")
			look()
			return nil
		},
		Confirm: func(context.Context) error {
			look()
			return nil
		},
	}))
	if want := []string{"applying", "copying", "confirming"}; !slices.Equal(have, want) {
		t.Errorf("want %v, have %v", want, have)
	}
}
