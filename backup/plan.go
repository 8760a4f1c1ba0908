package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
)

// plan finds the fewest renames that exchange the live data for the incoming.
type plan struct {
	*exchange
	ctx    context.Context
	survey *survey
}

// folder plans the exchange of what is in rel, a folder that stays itself.
func (p *plan) folder(rel string) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	was, err := lookAt(p.live, rel, Mutable)
	if err != nil {
		return err
	}
	stays := swapFolder{Path: fileName(rel), Was: lookOf(was), Now: lookOf(was)}
	now, err := lookAt(p.incoming, rel, Mutable)
	if err == nil {
		stays.Now = lookOf(now)
	}
	p.Folders = append(p.Folders, stays)

	live, err := sortedDirents(filepath.Join(p.live, rel))
	if err != nil {
		return err
	}
	comes := map[string]dirent{}
	incoming, err := sortedDirents(filepath.Join(p.incoming, rel))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if rel == "." && len(incoming) == 0 && p.Kind == swapReplace {
		return fmt.Errorf("%w: there is nothing in %s", ErrCorrupt, p.incoming)
	}
	for _, e := range incoming {
		comes[e.name] = e
	}
	classes, foreign := classify(rel, live), p.site.tree.foreign(rel, p.site.mounts)
	for i, e := range live {
		at := path.Join(rel, e.name)
		in, isIn := comes[e.name]
		delete(comes, e.name)
		rests, err := p.rests(at, e, classes[i], foreign)
		if err != nil {
			return err
		}
		if rests {
			continue
		}
		switch {
		case !p.survey.holds[at]:
			p.Moves = append(p.Moves, move{Path: fileName(at), Out: true, In: isIn})
		case isIn && in.kind != fs.ModeDir:
			return fmt.Errorf("%s holds what must stay, and is no folder in the data that is to replace it; move that elsewhere first", p.site.tree.at(at))
		default:
			if err := p.folder(at); err != nil {
				return err
			}
		}
	}
	for _, e := range incoming {
		at := path.Join(rel, e.name)
		if _, left := comes[e.name]; left && !p.site.tree.own(p.site.tree.at(at)) {
			p.Moves = append(p.Moves, move{Path: fileName(at), In: true})
		}
	}
	return nil
}

// rests reports whether a live entry stays where it is: identity, locks, what is
// ours. Data behind a mount cannot go back with the rest, so nothing may.
func (p *plan) rests(at string, e dirent, class Class, foreign map[string]string) (bool, error) {
	if class == Keep {
		p.Kept = append(p.Kept, fileName(at))
		return true, nil
	}
	why := excludes(e, class, foreign)
	if why == whyMount {
		return false, fmt.Errorf("%w: %s is %s; go back by binary alone", ErrPartial, escapeName(at), why)
	}
	return why != "", nil
}
