package backup

import (
	"errors"
	"fmt"
	"strings"
)

// check refuses what no archive of ours has: the item is foreign input, and what
// it names is about to be written. last is the path before it.
func (it *Item) check(last string) error {
	at := string(it.Path)
	switch {
	case last == "" && (at != "." || it.Type != itemFolder):
		return errors.New("the root does not come first")
	case len(at) > 4096 || strings.ContainsRune(at, 0):
		return errors.New("not a path")
	case strings.HasPrefix(at, "/"):
		return errors.New("an absolute path")
	case !validPath(at):
		return errors.New("a path that leads out of the tree")
	case last == at:
		return errors.New("twice")
	case last != "" && !follows(last, at):
		return fmt.Errorf("out of order, after %q", last)
	case it.Size < 0 || it.At < 0 || it.UID < 0 || it.GID < 0:
		return errors.New("negative size, place or owner")
	case it.Type != itemFile && it.Size != 0:
		return fmt.Errorf("a %s with content", it.Type)
	}
	target := string(it.Target)
	switch it.Type {
	case itemFile, itemFolder:
		if target != "" {
			return fmt.Errorf("a %s with a target", it.Type)
		}
	case itemSymlink:
		if target == "" || len(target) > 4096 || strings.ContainsRune(target, 0) || leadsOut(at, target) {
			return fmt.Errorf("a symlink that leads out of the tree, to %q", target)
		}
	case itemHardLink:
		if !validPath(target) || !follows(target, at) {
			return fmt.Errorf("a link that leads out of the tree, to %q", target)
		}
	default:
		return fmt.Errorf("of type %q, which is never archived", it.Type)
	}
	return nil
}

// validPath is [fs.ValidPath] for names of any bytes.
func validPath(at string) bool {
	for part := range strings.SplitSeq(at, "/") {
		if part == "" || part == ".." || part == "." && at != "." || len(part) > 255 {
			return false
		}
	}
	return true
}
