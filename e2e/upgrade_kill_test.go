//go:build e2e

package e2e

import (
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// fallible is the image of several nodes whose wemixvisor ends at a named moment.
const fallible = "wemixvisor-node:failpoint"

// course is an upgrade that is disturbed. As PID 1 wemixvisor takes its container
// with it: nobody else is left to clean up.
type course struct {
	name, from, to string
	plan, stage    string   // and how it ends
	runs           string   // the version that runs then
	moments        []string // those that a short run looks at
}

var courses = []course{
	{"done", "old", "new", "v1.16.9", "done", "v1.16.9", []string{"upgrade.opened", "upgrade.snapshot", "upgrade.linking", "trial.started"}},
	{"rolled back", "new", "failing", "v1.17.8", "rolled-back", "v1.16.9", []string{"revert.journalled"}},
}

// planned lays out a volume with the plan, before the first start.
func (c course) planned(t *testing.T, name string) launcher {
	t.Helper()
	at := volume(t, name)
	start := func(image string, args []string, env ...string) *box {
		return launch(t, image, args, holding(c.from, env...), at("/data"))
	}
	for _, args := range [][]string{{"init"}, {"upgrade", "schedule", c.plan, "5", "--binary", "/opt/" + c.to + "/wemixd"}} {
		if b := start(several, args); b.code() != 0 {
			t.Fatalf("%v: %s", args, b.logs())
		}
	}
	return start
}

type launcher func(image string, args []string, env ...string) *box

// ends checks that the next start comes to the course's end by itself.
func (c course) ends(b *box, identity string) {
	b.t.Helper()
	p := b.becomes(c.plan, c.stage)
	b.runs(c.runs)
	if have := b.identity(); identity != "" && have != identity {
		b.t.Errorf("the node became another")
	}
	over := 0
	for _, step := range p.Steps {
		if step.Stage == c.stage {
			over++
		}
	}
	if over != 1 {
		b.t.Errorf("want it applied once, have %+v", p.Steps)
	}
}

// passed returns the moments that an undisturbed course passes, each once.
func (c course) passed(t *testing.T) []string {
	t.Helper()
	b := c.planned(t, "passed-"+c.to)(fallible, develop, "WEMIXVISOR_FAILPOINT_LOG=/data/passed")
	c.ends(b, "")
	b.stop()
	r, err := b.c.CopyFileFromContainer(t.Context(), "/data/passed")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var moments []string
	for _, m := range strings.Fields(string(text)) {
		if !slices.Contains(moments, m) {
			moments = append(moments, m)
		}
	}
	t.Logf("%d moments", len(moments))
	return moments
}

// Whatever the step at which PID 1 is gone, or told to stop, the next container on
// its volume ends at the old binary or the new one by itself.
func TestPID1EndsAtEachStepOfAnUpgrade(t *testing.T) {
	t.Parallel()
	for _, c := range courses {
		moments, how := c.moments, []string{"exit"}
		if os.Getenv("WEMIXVISOR_LONG") != "" {
			moments, how = c.passed(t), []string{"exit", "term"}
		}
		for _, m := range moments {
			for _, action := range how {
				t.Run(c.name+" "+action+" at "+m, func(t *testing.T) {
					t.Parallel()
					start := c.planned(t, strings.ReplaceAll(c.to+"-"+m+"-"+action, "_", "-"))
					b := start(fallible, develop, "WEMIXVISOR_FAILPOINT="+m+"="+action)
					if code := b.code(); action == "exit" && code != 137 {
						t.Fatalf("want it gone at %s, have exit %d\n%s", m, code, b.logs())
					}
					identity := ""
					if strings.Contains(b.logs(), "node started") {
						identity = b.identity()
					}
					c.ends(start(fallible, develop), identity)
				})
			}
		}
	}
}

// The same at any moment, from outside.
func TestContainerKilledAtRandomInMidUpgrade(t *testing.T) {
	if os.Getenv("WEMIXVISOR_LONG") == "" {
		t.Skip("for the long run")
	}
	t.Parallel()
	for i := range 20 {
		c, how := courses[i%len(courses)], []string{"kill", "stop"}[i/2%2]
		after := rand.N(8 * time.Second)
		t.Run(c.name+" "+how+" after "+after.String(), func(t *testing.T) {
			t.Parallel()
			b := c.planned(t, "random-"+after.String())(several, develop)
			<-time.After(after) // the moment is what is tried
			if out, err := exec.Command("docker", how, b.c.GetContainerID()).CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
			identity := ""
			if strings.Contains(b.logs(), "node started") {
				identity = b.identity()
			}
			if err := b.c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.ends(b, identity)
		})
	}
}
