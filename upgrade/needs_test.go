package upgrade

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNeeds(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Needs{
		`null`:                             {},
		`{}`:                               {},
		`{"free":500000000000}`:            {Free: 500_000_000_000},
		`{"free":"data","timeout":"12h"}`:  {LikeData: true, Timeout: 12 * time.Hour},
		`{"timeout":"1m30s"}`:              {Timeout: 90 * time.Second},
		`{"free":-1}`:                      {Free: -1},
		`{"free":"500GB"}`:                 {Free: -1},
		`{"free":1.5}`:                     {Free: -1},
		`{"timeout":12}`:                   {Free: -1},
		`{"timeout":"-1h"}`:                {Free: -1},
		`{"timeout":"soon"}`:               {Free: -1},
		`{"fre":"data"}`:                   {Free: -1},
		`"data"`:                           {Free: -1},
		`[]`:                               {Free: -1},
		`{"free":99999999999999999999999}`: {Free: -1},
	} {
		var i Info
		err := json.Unmarshal([]byte(`{"hook":`+text+`}`), &i)
		if bad := want.Free < 0; (err != nil) != bad || !bad && i.Needs != want {
			t.Errorf("%s: want %+v, have %+v, %v", text, want, i.Needs, err)
			continue
		}
		again, _ := json.Marshal(Info{Needs: i.Needs})
		var j Info
		if err == nil && (json.Unmarshal(again, &j) != nil || j.Needs != want) {
			t.Errorf("%s: want it back, have %s", text, again)
		}
	}
}

// A hook that converts the data finds what its plan says it needs, or the node is
// not stopped.
func TestWhatAHookNeeds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		needs string
		hook  string // empty: none
		want  Stage
		why   string
	}{
		{"room and time", `{"free":"data","timeout":"1m"}`, "exit 0", Done, ""},
		{"no room", `{"free":1000000000000000000}`, "exit 0", NotReady, "room for the hook"},
		{"no hook", `{"free":"data"}`, "", NotReady, "there is none"},
		{"its own time", `{"timeout":"200ms"}`, "sleep 1000", Failed, "still running after 200ms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, oldNode, nil)
			g.stage("v2", newNode)
			if tc.hook != "" {
				put(t, filepath.Join(g.home.Dir(), "upgrades/v2/pre-upgrade"), "#!/bin/sh\n"+tc.hook)
			}
			g.start()
			g.plan(`{"name":"v2","height":3,"info":{"hook":` + tc.needs + `}}`)
			e := g.becomes("v2", tc.want)
			if !strings.Contains(e.Reason, tc.why) {
				t.Errorf("have %s: %s", e.Stage, e.Reason)
			}
			if tc.want != NotReady {
				return
			}
			g.head(3)
			if starts := g.starts(); starts != "1.0.0" {
				t.Errorf("want the node left alone, have %s", starts)
			}
		})
	}
}

// Room that was there when the plan was made ready may be gone at its height.
func TestRoomThatIsGoneAtTheHeight(t *testing.T) {
	t.Parallel()
	root := small(t, "16m")
	lay(t, root, oldNode)
	g := rigAt(t, root, nil)
	g.stage("v2", newNode)
	put(t, filepath.Join(g.home.Dir(), "upgrades/v2/pre-upgrade"), "#!/bin/sh\nexit 0")
	g.start()
	g.plan(`{"name":"v2","height":60,"info":{"hook":{"free":"data"}}}`)
	g.becomes("v2", Prepared)
	write(t, filepath.Join(root, "data/geth/chaindata/grown.ldb"), strings.Repeat("x", 10<<20))
	if e := g.becomes("v2", NotReady); !strings.Contains(e.Reason, "room for the hook") {
		t.Errorf("have %s", e.Reason)
	}
	if starts := g.starts(); starts != "1.0.0" {
		t.Errorf("want the node left alone, have %s", starts)
	}
}
