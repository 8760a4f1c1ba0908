package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
)

// plan finds the fewest renames that exchange the live data for the incoming.
type plan struct {
	*exchange
	ctx context.Context
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

	live, err := readDirents(filepath.Join(p.live, rel))
	if err != nil {
		return err
	}
	comes := map[string]dirent{}
	incoming, err := readDirents(filepath.Join(p.incoming, rel))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range incoming {
		comes[e.name] = e
	}
	classes := classify(rel, live)
	for i, e := range live {
		at := path.Join(rel, e.name)
		in, isIn := comes[e.name]
		delete(comes, e.name)
		rests, err := p.rests(at, e, classes[i])
		if err != nil {
			return err
		}
		if rests {
			continue
		}
		holds, err := p.holds(at, e)
		if err != nil {
			return err
		}
		switch {
		case !holds:
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
func (p *plan) rests(at string, e dirent, class Class) (bool, error) {
	if class == Keep {
		p.Kept = append(p.Kept, fileName(at))
		return true, nil
	}
	out := p.site.tree.excludes(at, e, class, p.site.mounts)
	if out != nil && out.Loss {
		return false, fmt.Errorf("%w: %s is %s; go back by binary alone", ErrPartial, out.Path, out.Why)
	}
	return out != nil, nil
}

// holds reports whether a folder has something in it, at any depth, that must
// stay where it is.
func (p *plan) holds(rel string, e dirent) (bool, error) {
	if e.kind != fs.ModeDir {
		return false, nil
	}
	if err := p.ctx.Err(); err != nil {
		return false, err
	}
	full := p.site.tree.at(rel)
	if p.site.mounts.below(full) != "" {
		return true, nil
	}
	for _, own := range p.site.tree.Own {
		if strings.HasPrefix(own, full+"/") && exists(own) {
			return true, nil
		}
	}
	entries, err := readDirents(full)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if kept(path.Join(rel, e.name)) {
			return true, nil
		}
	}
	for _, e := range entries {
		if holds, err := p.holds(path.Join(rel, e.name), e); holds || err != nil {
			return holds, err
		}
	}
	return false, nil
}
