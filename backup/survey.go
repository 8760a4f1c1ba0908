package backup

import (
	"context"
	"fmt"
	"io/fs"
	"path"
)

// survey goes once through all folders of a tree, looking at names alone, before
// anything is moved in it: it locks each lock file, and finds which folders have
// something in them that must stay where it is.
type survey struct {
	site  *site
	locks *locks
	holds map[string]bool // by path relative to the root
}

// survey makes one, or returns [ErrInUse]. The locks are to be freed in any
// case.
func (s *site) survey(ctx context.Context, held *locks) (*survey, error) {
	v := &survey{site: s, locks: held, holds: map[string]bool{}}
	if _, err := v.folder(ctx, "."); err != nil {
		return nil, fmt.Errorf("look through %s: %w", s.tree.Root, err)
	}
	return v, nil
}

func (v *survey) folder(ctx context.Context, rel string) (holds bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	foreign := v.site.tree.foreign(rel, v.site.mounts)
	var folders, lockFiles []dirent
	err = scanDirents(v.site.tree.at(rel), func(name []byte, ino uint64, kind fs.FileMode) {
		if len(foreign) > 0 && foreign[string(name)] != "" || keeps(rel, string(name)) {
			holds = true
			return
		}
		switch e := (dirent{kind: kind}); {
		case kind == fs.ModeDir:
			e.name = string(name)
			folders = append(folders, e)
		case kind == 0 && (string(name) == "LOCK" || string(name) == "FLOCK"):
			e.name = string(name)
			lockFiles = append(lockFiles, e)
		}
	})
	if err != nil {
		return false, err
	}
	if err := v.locks.takeIn(v.site.tree, rel, lockFiles); err != nil {
		return false, err
	}
	for _, e := range folders {
		if rel == "." && e.name == "lost+found" {
			continue
		}
		inside, err := v.folder(ctx, path.Join(rel, e.name))
		if err != nil {
			return false, err
		}
		holds = holds || inside
	}
	if holds {
		v.holds[rel] = true
	}
	return holds, nil
}
