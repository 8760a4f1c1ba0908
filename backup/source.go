package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Source is what an archive is made from: the mirror tree of a snapshot, or the
// data directory of a node that is down.
type Source struct {
	Tree Tree

	// Live is the data directory, where the identity lies, if Tree is a mirror
	// tree, which has none; "" if Tree is the data directory itself.
	Live string

	// Online says that Tree is written to meanwhile: then files may grow and
	// vanish. Else both are errors.
	Online bool
}

const (
	whyKeep   = "the node's identity, or an order to upgrade: left out unless secrets are asked for"
	whyOurs   = "an archive's own manifest, left by tar"
	whyLeads  = "a symlink that leads out of the data directory, to "
	whyDevice = "a socket, pipe or device"
)

// walk calls f for all that goes into an archive, in its order, and returns what
// does not.
func (s Source) walk(ctx context.Context, own string, secrets bool, f func(root string, e Entry) error) ([]Excluded, error) {
	tree := s.Tree
	tree.Own = append(tree.Own[:len(tree.Own):len(tree.Own)], own)
	tree, err := tree.resolve()
	if err != nil {
		return nil, err
	}
	v := visit{secrets: secrets}
	if s.Live != "" {
		live := Tree{Root: s.Live, Own: tree.Own}
		if live, err = live.resolve(); err != nil {
			return nil, err
		}
		if err := v.identity(ctx, live); err != nil {
			return nil, err
		}
	}
	last := ""
	emit := func(root string, e Entry) error {
		if last == e.Path {
			return nil // a folder that both trees have
		}
		last = e.Path
		return f(root, e)
	}
	excluded, err := tree.Walk(ctx, func(e Entry) error {
		if !v.takes(tree.Root, e) {
			return nil
		}
		for len(v.kept) > 0 && follows(v.kept[0].Path, e.Path) {
			if err := emit(v.keptRoot, v.kept[0]); err != nil {
				return err
			}
			v.kept = v.kept[1:]
		}
		return emit(tree.Root, e)
	})
	if err != nil {
		return nil, err
	}
	for _, e := range v.kept {
		if err := emit(v.keptRoot, e); err != nil {
			return nil, err
		}
	}
	return v.report(excluded), nil
}

// visit decides what goes into an archive.
type visit struct {
	secrets  bool
	kept     []Entry // of the live tree, with the folders above them
	keptRoot string
	left     []Excluded
	below    string // a folder that was left out as a whole
}

// takes reports whether an entry goes into the archive, and notes why not.
func (v *visit) takes(root string, e Entry) bool {
	if v.below != "" && strings.HasPrefix(e.Path, v.below+"/") {
		return false
	}
	why, loss := "", false
	switch {
	case e.Path == manifestMember:
		why = whyOurs
	case e.Class == Keep && !v.secrets:
		why = whyKeep
	case e.Target != "" && leadsOut(e.Path, e.Target):
		// By its words alone, so it would not be restored. That is a loss if it
		// leads to something, be it in the tree.
		why, loss = whyLeads+e.Target, e.Class != Keep && e.Class != Skip && leadsSomewhere(filepath.Join(root, e.Path))
	case !e.Mode.IsRegular() && !e.Mode.IsDir() && e.Target == "":
		why = whyDevice
	default:
		return true
	}
	v.below = e.Path
	v.left = append(v.left, Excluded{Path: escapeName(e.Path), Why: escapeName(why), Loss: loss})
	return false
}

// identity collects what the mirror tree lacks.
func (v *visit) identity(ctx context.Context, live Tree) error {
	v.keptRoot = live.Root
	var above []Entry // the folders that the walk is in
	noted := ""       // the last folder in kept
	_, err := live.Walk(ctx, func(e Entry) error {
		for len(above) > 0 && above[len(above)-1].Path != "." && !strings.HasPrefix(e.Path, above[len(above)-1].Path+"/") {
			above = above[:len(above)-1]
		}
		if e.Class == Keep && v.takes(live.Root, e) {
			for _, folder := range above {
				if noted == "" || follows(noted, folder.Path) {
					v.kept, noted = append(v.kept, folder), folder.Path
				}
			}
			v.kept = append(v.kept, e)
			noted = e.Path
		}
		if e.Mode.IsDir() && e.Class != Keep {
			above = append(above, e)
		}
		return nil
	})
	v.below = ""
	return err
}

// report joins what the walk left out with what we did: our word on a symlink
// stands for the walk's, its judgement of the loss for ours.
func (v *visit) report(walked []Excluded) []Excluded {
	out := make([]Excluded, 0, len(v.left)+len(walked))
	at := map[string]int{}
	for _, e := range append(v.left, walked...) {
		if i, twice := at[e.Path]; twice {
			out[i].Loss = out[i].Loss || e.Loss
			continue
		}
		at[e.Path] = len(out)
		out = append(out, e)
	}
	return out
}

// leadsSomewhere reports whether there is something at the end of a symlink.
func leadsSomewhere(link string) bool {
	_, err := os.Stat(link)
	return !errors.Is(err, fs.ErrNotExist)
}
