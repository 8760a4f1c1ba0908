package governance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wemix/wemixvisor/upgrade"
)

var sum = strings.Repeat("ab", 32)

func memo(name string, height uint64) string {
	return fmt.Sprintf(`{"name":%q,"height":%d,"info":{"checksums":{"any":"sha256:%s"}}}`, name, height, sum)
}

// TestBallots lives through ballots of go-wemix on a real node.
func TestBallots(t *testing.T) {
	n := newNetwork(t)
	c := newCongress(n)
	v := watching(t, home(t), n.config(c.registry, depth))

	// Its memo is written anew while it is open: what counts is what it says in the
	// end, and that only when there are blocks on top.
	c.open(1, 6, memo("v1", 1000))
	v.becomes("1", Open)
	c.write(1, 6, 2, false, memo("v2", 900))
	c.finish(1, 6, 3, memo("v3", 800))
	eventually(t, "it has passed", func() bool { p, _ := v.Status().Proposal("1"); return p.Stage == Passed }, v)
	n.mine(2)
	v.seen(n.head())
	if p, _ := v.Status().Proposal("1"); p.Stage != Passed || p.Plan != nil || p.Memo != "" || !strings.HasSuffix(p.Reason, " confirmations of 5") || v.queued() != "" {
		t.Errorf("want nothing to follow before it is confirmed, have %+v, queue %s", p, v.queued())
	}
	n.mine(depth)
	p := v.becomes("1", Scheduled)
	if want, have := "v3@800 by governance", v.queued(); want != have {
		t.Errorf("want %s, have %s", want, have)
	}
	if p.Plan == nil || p.Plan.Name != "v3" || p.Type != 6 || p.Memo != memo("v3", 800) || p.Creator != num(0xabc).address() {
		t.Errorf("have %+v", p)
	}
	if want, have := "open passed scheduled", v.told("1"); want != have {
		t.Errorf("want %s, have %s", want, have)
	}

	c.open(2, 6, memo("no", 800))
	c.finish(2, 6, 4, memo("no", 800))
	c.open(3, 5, memo("env", 800)) // of another type
	c.finish(3, 5, 3, memo("env", 800))
	c.finish(4, 6, 3, "let us meet in May") // created before we looked
	c.finish(5, 6, 3, memo("bad name", 800))
	c.finish(6, 6, 3, `{"name":"nosum","height":800}`)
	late := n.head()
	c.finish(7, 6, 3, memo("late", late))
	c.finish(8, 6, 3, memo("v3", 801)) // of a name that lies in the queue
	c.write(9, 6, 2, true, memo("liar", 800))
	w := num(3)
	c.send(c.storage, emit([]word{hash("BallotFinalized(uint256,uint256)"), num(9)}, w[:]))
	n.mine(depth)
	for _, tc := range []struct {
		id   string
		want Stage
		why  string
	}{
		{"2", Rejected, ""},
		{"3", Passed, "a ballot of type 5 carries no plan"},
		{"4", Passed, "its memo carries no plan"},
		{"5", Ignored, `bad plan: name "bad name": only letters`},
		{"6", Ignored, "bad plan: no sha256 of the binary for"},
		{"7", Ignored, fmt.Sprintf("it came too late: height %d, head ", late)},
		{"8", Ignored, "another plan named v3 lies in the queue"},
		{"9", Ignored, "the contract says that it is not accepted: state 2, finalized true"},
	} {
		p := v.becomes(tc.id, tc.want)
		if !strings.Contains(p.Reason, tc.why) {
			t.Errorf("%s: want %q, have %q", tc.id, tc.why, p.Reason)
		}
	}
	v.seen(n.head())
	if want, have := "v3@800 by governance", v.queued(); want != have {
		t.Errorf("want %s alone, have %s", want, have)
	}
	if have := strings.Count(v.log(), "bad name"); have != 1 {
		t.Errorf("want it told once, have %d times\n%s", have, v.log())
	}

	// What was seen is not news after a restart, nor is a plan that was cancelled
	// filed again; what happened meanwhile is caught up with.
	v.stop()
	if err := v.home.Withdraw("v3"); err != nil {
		t.Fatal(err)
	}
	c.finish(10, 6, 3, "wemixvisor: "+memo("v4", 900))
	n.mine(depth)
	v = watching(t, v.home, n.config(c.registry, depth))
	v.becomes("10", Scheduled)
	if want, have := "v4@900 by governance", v.queued(); want != have {
		t.Errorf("want %s, have %s", want, have)
	}
	if have := v.told("1") + v.told("2") + v.told("5"); have != "" {
		t.Errorf("want no old news, have %s", have)
	}
	if s := v.Status(); len(s.Proposals) != 10 || s.Contract != c.storage || s.Scanned+depth != s.Head {
		t.Errorf("have %+v", s)
	}
}

// TestContract reads the interface that is no go-wemix's, under another name of
// its event.
func TestContract(t *testing.T) {
	n := newNetwork(t)
	address := n.deploy()
	cfg := n.config(address, 0)
	cfg.Source, cfg.Event = SourceContract, "Upgraded"
	v := watching(t, home(t), cfg)
	say := memo("v9", 500)
	var answer []byte
	for _, x := range []uint64{3, 1, 0x60, uint64(len(say))} {
		w := num(x)
		answer = append(answer, w[:]...)
	}
	answer = append(answer, say...)
	n.send(address, learn(call("proposal(uint256)", num(77)), answer))
	w := num(3)
	n.send(address, emit([]word{hash("Upgraded(uint256,uint256)"), num(77)}, w[:]))
	v.becomes("77", Scheduled)
	if want, have := "v9@500 by governance", v.queued(); want != have {
		t.Errorf("want %s, have %s", want, have)
	}
	// An address without a contract would be silent for ever.
	cfg.Address = "0x00000000000000000000000000000000000000ff"
	v = watching(t, home(t), cfg)
	eventually(t, "it says so", func() bool {
		s := v.Status()
		return s.State == Unavailable && strings.Contains(s.Reason, "no contract at")
	}, v)
}

// TestReorganisation takes blocks away from under ballots.
func TestReorganisation(t *testing.T) {
	n := newNetwork(t)
	c := newCongress(n)
	v := watching(t, home(t), n.config(c.registry, depth))
	c.open(1, 6, memo("v1", 1000))
	n.mine(2)
	v.seen(n.head())
	before := n.head()

	// Before it is confirmed nothing was filed, and nothing is.
	c.finish(1, 6, 3, memo("v1", 1000))
	eventually(t, "it has passed", func() bool { p, _ := v.Status().Proposal("1"); return p.Stage == Passed }, v)
	n.rewind(before)
	n.mine(4)
	v.becomes("1", Open)
	if have := v.queued(); have != "" {
		t.Errorf("want nothing filed, have %s", have)
	}
	if want, have := "open passed withdrawn", v.told("1"); want != have {
		t.Errorf("want %s, have %s", want, have)
	}

	// After it, the plan goes with the block, and comes back with another.
	before = n.head()
	c.finish(1, 6, 3, memo("v1", 1000))
	n.mine(depth)
	v.becomes("1", Scheduled)
	if err := v.home.File(upgrade.Plan{Name: "other", Height: 5000}); err != nil {
		t.Fatal(err)
	}
	after := n.head()
	n.rewind(before)
	n.mine(after + 2 - before)
	p := v.becomes("1", Withdrawn)
	if !strings.Contains(p.Reason, "its plan is withdrawn") || v.queued() != "other@5000 by " {
		t.Errorf("have %+v, queue %s", p, v.queued())
	}
	passed := c.finish(1, 6, 3, memo("v1", 1000))
	n.mine(depth)
	v.becomes("1", Scheduled)
	if want, have := "other@5000 by , v1@1000 by governance", v.queued(); want != have {
		t.Errorf("want %s, have %s", want, have)
	}

	// A plan that somebody took out of the queue is not filed again by a second
	// chain; nor is one taken out that somebody else put there.
	if err := v.home.Withdraw("v1"); err != nil {
		t.Fatal(err)
	}
	c.finish(2, 6, 3, memo("v2", 2000))
	n.mine(depth)
	v.becomes("2", Scheduled)
	if err := v.home.File(upgrade.Plan{Name: "v2", Height: 2001, By: upgrade.ByCommand}); err != nil {
		t.Fatal(err)
	}
	after = n.head()
	n.rewind(passed - 1)
	n.mine(after + 3 - passed)
	if p := v.becomes("2", Withdrawn); !strings.Contains(p.Reason, "filed by somebody else and stays") {
		t.Errorf("have %+v", p)
	}
	if p := v.becomes("1", Withdrawn); !strings.Contains(p.Reason, "had left the queue before") {
		t.Errorf("have %+v", p)
	}
	c.finish(1, 6, 3, memo("v1", 1000))
	n.mine(depth)
	if p := v.becomes("1", Scheduled); !strings.Contains(p.Reason, "filed before") {
		t.Errorf("have %+v", p)
	}
	if want, have := "other@5000 by , v2@2001 by command", v.queued(); want != have {
		t.Errorf("want %s, have %s", want, have)
	}
}

func TestStateThatCannotBeRead(t *testing.T) {
	n := newNetwork(t)
	c := newCongress(n)
	h := home(t)
	if err := os.MkdirAll(h.Dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.Dir(), stateFileName), []byte(`{"schema":1,"next":`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.finish(1, 6, 3, memo("v1", 1000))
	c.finish(2, 6, 3, memo("v0", 2))
	n.mine(1)
	v := watching(t, h, n.config(c.registry, 1))
	v.becomes("1", Scheduled)
	if !strings.Contains(v.log(), "is lost; looking back") {
		t.Errorf("want it told, have %s", v.log())
	}
	// What was voted for and applied long ago is history, and no news.
	if p := v.becomes("2", Passed); !strings.Contains(p.Reason, "had come before votes were followed") {
		t.Errorf("have %+v", p)
	}
}
