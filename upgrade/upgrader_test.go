package upgrade

import (
	"strings"
	"testing"
)

var (
	oldNode = nodeScript("1.0.0", "", "")
	newNode = nodeScript("2.0.0", "", "")
)

func TestUpgradeAtAHeight(t *testing.T) {
	t.Parallel()
	g := newRig(t, oldNode, nil).start()
	g.stage("v2", newNode)
	g.plan(`{"name":"v2","height":30}`)
	e := g.becomes("v2", Done)
	g.runs("2.0.0")
	if e.Switch.Head < 30 || e.Switch.Head > 40 {
		t.Errorf("want the first head from 30 on, have %d", e.Switch.Head)
	}
	if e.SHA256 == "" || e.Version != "2.0.0" || e.Switch.Previous != "genesis" || !e.Switch.Clean || e.Switch.Snapshot == "" {
		t.Errorf("have %+v, %+v", e, e.Switch)
	}
	var stages []string
	for _, s := range e.Steps {
		stages = append(stages, string(s.Stage))
	}
	if have, want := strings.Join(stages, " "), "scheduled preparing prepared switching confirming done"; have != want {
		t.Errorf("want %s, have %s", want, have)
	}
	if have := g.home.Current(); have != "v2" {
		t.Errorf("current is %s", have)
	}
	if have := g.starts(); have != "1.0.0 2.0.0" {
		t.Errorf("have starts %s", have)
	}
	if g.sup.Status().Restarts != 0 {
		t.Error("it was counted as a crash")
	}
}
