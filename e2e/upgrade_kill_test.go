//go:build e2e

package e2e

import (
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

// course is an upgrade that is disturbed: its binary is fetched, and where there
// is a hook that changes the data. As PID 1 wemixvisor takes its container with it:
// nobody else is left to clean up.
type course struct {
	name, from, to string
	env            []string
	plan, stage    string   // and how it ends
	runs           string   // the version that runs then
	hooked         bool     // the hook's change is there then
	moments        []string // those that a short run looks at
}

// hooking has our bad node run as a hook that exits with a code.
func hooking(code string) []string {
	return []string{"COSMOVISOR_CUSTOM_PREUPGRADE=/opt/bad/wemixd", "BADNODE=hook=" + code}
}

var courses = []course{
	{"done", "old", "new", append(hooking("0"), "VALIDATOR_MODE=true"), "v1.16.9", "done", "v1.16.9", true,
		[]string{"fetch.received", "plan.waiting", "upgrade.hooked", "upgrade.linking", "trial.started"}},
	{"rolled back", "new", "failing", nil, "v1.17.8", "rolled-back", "v1.16.9", false, []string{"revert.journalled"}},
	{"aborted", "old", "new", hooking("30"), "v1.16.9", "failed", "v1.16.8", false, []string{"revert.data"}},
}

// planned lays out a volume with the plan, before the first start.
func (c course) planned(t *testing.T, name string) launcher {
	t.Helper()
	name = strings.NewReplacer(" ", "-", "_", "-").Replace(c.name + "-" + name)
	d, at := openDepot(t), volume(t, name)
	lay(t, name, entry{"ca.pem", d.ca, ""}, entry{"data/upgrade-info.json", trigger(t, c.plan, 3, c.to, d.url, nil), ""})
	env := append([]string{"SSL_CERT_FILE=/data/ca.pem", "DAEMON_ALLOW_DOWNLOAD_BINARIES=true"}, c.env...)
	return func(image string, more ...string) *box {
		return launch(t, image, develop, holding(c.from, append(env, more...)...), at("/data"))
	}
}

// launcher starts a container of an image on one volume.
type launcher func(image string, env ...string) *box

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
	if _, there := b.read("/data/data/geth/hooked"); there != c.hooked {
		b.t.Errorf("want the hook's change there: %v, have %v", c.hooked, there)
	}
}

// passed returns the moments that an undisturbed course passes, each once.
func (c course) passed(t *testing.T) []string {
	t.Helper()
	b := c.planned(t, "passed")(fallible, "WEMIXVISOR_FAILPOINT_LOG=/data/passed")
	c.ends(b, "")
	b.stop()
	text, _ := b.read("/data/passed")
	var moments []string
	for _, m := range strings.Fields(text) {
		if !slices.Contains(moments, m) {
			moments = append(moments, m)
		}
	}
	t.Logf("%s: %d moments: %s", c.name, len(moments), strings.Join(moments, " "))
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
					start := c.planned(t, m+"-"+action)
					b := start(fallible, "WEMIXVISOR_FAILPOINT="+m+"="+action)
					if code := b.code(); action == "exit" && code != 137 {
						t.Fatalf("want it gone at %s, have exit %d\n%s", m, code, b.logs())
					}
					identity, _ := b.read(nodekey)
					c.ends(start(fallible), identity)
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
	for i := range 100 {
		c, how := courses[i%len(courses)], []string{"kill", "stop"}[i%2]
		after := rand.N(12 * time.Second)
		t.Run(c.name+" "+how+" after "+after.String(), func(t *testing.T) {
			t.Parallel()
			b := c.planned(t, "random-"+after.String())(several)
			<-time.After(after) // the moment is what is tried
			if out, err := exec.Command("docker", how, b.c.GetContainerID()).CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
			identity, _ := b.read(nodekey)
			if err := b.c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.ends(b, identity)
		})
	}
}
