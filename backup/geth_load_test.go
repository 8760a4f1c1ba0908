package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/e2e/load"
)

// loaded is a node that users keep busy.
type loaded struct {
	*geth
	users *load.Generator
	end   func() // of the users
}

func startLoaded(t *testing.T, root, engine string) loaded {
	t.Helper()
	// Without locals what was sent before a restart, from accounts and in an order that
	// a chain cut back knows no more, is not sent again.
	g := loaded{geth: startGeth(t, root, "--db.engine", engine, "--cache", "128", "--txpool.nolocals"), users: &load.Generator{Senders: 4, Batch: 16}}
	g.users.URL = g.rpc
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.users.Run(ctx)
	}()
	g.end = func() { cancel(); <-done }
	t.Cleanup(g.end)
	return g
}

// busy waits until the node has taken n transactions more.
func (g loaded) busy(n int64) {
	g.t.Helper()
	n += g.users.Sent()
	g.until(fmt.Sprintf("%d transactions", n), func() bool { return g.users.Sent() >= n })
}

// stop ends the node under load and returns the head that it must come back to.
func (g loaded) stop() (head uint64) {
	g.t.Helper()
	head, _ = g.block("latest")
	g.geth.stop()
	g.end()
	return head
}

// labour asks for what may take long. The node says after half a minute that it has no
// answer yet, a tenth of a second before it closes the connection: starved of its
// processor for that long it closes without a word. It does what it was asked to anyway.
func (g loaded) labour(method string, params ...any) {
	g.t.Helper()
	asked := time.Now()
	_, err := g.call(method, params...)
	late := time.Since(asked) > 29*time.Second
	if err != nil && !(late && (errors.Is(err, io.EOF) || strings.Contains(err.Error(), "request timed out"))) {
		g.t.Error(err)
	}
}

// Round after round with a node under load: a snapshot of what it stopped with, the
// node runs on, cuts its chain back and compacts its tables while an archive is made
// of the snapshot, and what is extracted elsewhere is to the byte what it stopped
// with, and a node starts on it with the head that it had.
func TestANodeUnderLoad(t *testing.T) {
	t.Parallel()
	rounds := 1
	if os.Getenv("CI") == "true" {
		rounds = 5
	}
	if long() {
		rounds = 50
	}
	for _, engine := range []string{"pebble", "leveldb"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			root := filepath.Join(dir, "data")
			s, r := snapshotter(root), newRepo(t)
			g := startLoaded(t, root, engine)
			g.waitFor(3)
			for n := range rounds {
				g = underLoad(t, g, s, r, engine, filepath.Join(dir, fmt.Sprint(n)))
				t.Logf("round %d of %d", n+1, rounds)
			}
			g.sealing()
			g.stop()
		})
	}
}

func underLoad(t *testing.T, g loaded, s *Snapshotter, r *Repo, engine, dir string) loaded {
	t.Helper()
	root := g.root
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir, 0o755))
	g.busy(50 + rand.Int64N(100))
	_, err := s.Prepare(ctx)
	must(err)
	g.busy(20 + rand.Int64N(50))
	head := g.stop()
	stopped := filepath.Join(dir, "stopped")
	run(t, "cp", "-a", root, stopped)
	want := image(t, stopped, true)
	snap, err := s.Commit(ctx, "test", Origin{Height: head, CleanShutdown: true, Consistency: Stopped})
	must(err)

	g = startLoaded(t, root, engine)
	if have, _ := g.block("latest"); have < head {
		t.Fatalf("the head was lost: %d, and it was %d", have, head)
	}
	g.busy(20)
	// What is done to the live data while the archive is made of what it shares.
	archived := make(chan error, 1)
	var info Info
	go func() {
		var err error
		info, err = r.Create(ctx, Source{Tree: Tree{Root: snap.Root}, Live: root}, CreateOptions{})
		archived <- err
	}()
	g.labour("debug_setHead", fmt.Sprintf("%#x", head/2))
	g.labour("debug_chaindbCompact")
	must(<-archived)
	must(s.Verify(ctx, snap.ID))
	same(t, "the snapshot", want, image(t, snap.Root, true))

	to := filepath.Join(dir, "to")
	_, err = r.Extract(ctx, info.ID, to, ExtractOptions{})
	must(err)
	same(t, "extracted", want, image(t, to, true))
	restored := startGeth(t, to, "--db.engine", engine)
	if have, _ := restored.block("latest"); have < head {
		t.Errorf("the restored node's head was lost: %d, and it was %d", have, head)
	}
	before, was := g.block(fmt.Sprintf("%#x", head/2))
	if have, is := restored.block(fmt.Sprintf("%#x", head/2)); have != before || was != is {
		t.Errorf("want block %d %s, have %d %s", before, was, have, is)
	}
	restored.sealing()
	restored.stop()
	// A node whose chain was cut back while it was sealing seals no more ("chain rewind
	// interrupted calculation of finalized block hash"): the next round has one anew.
	g.stop()
	g = startLoaded(t, root, engine)
	must(s.Drop(ctx, snap.ID))
	_, err = r.Prune(ctx, Policy{KeepFull: 1}, false)
	must(err)
	must(os.RemoveAll(dir))
	return g
}
