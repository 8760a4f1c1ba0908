package upgrade

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wemix/wemixvisor/reaper"
)

// Import adopts a cosmovisor tree: the folder named cosmovisor, or the home
// that holds it. Binaries are copied, what is already here is kept, and the
// link names what theirs named. Their tree is only read.
func (h Home) Import(dir string) error {
	if inner := filepath.Join(dir, "cosmovisor"); isDir(inner) {
		dir = inner
	}
	current, err := os.Readlink(filepath.Join(dir, "current"))
	if errors.Is(err, fs.ErrNotExist) {
		current, err = "genesis", nil
	}
	if err != nil {
		return fmt.Errorf("import %s: %w", dir, err)
	}
	current = theirFolder(current)
	folders := []string{"genesis"}
	names, err := os.ReadDir(filepath.Join(dir, "upgrades"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("import %s: %w", dir, err)
	}
	for _, n := range names {
		folders = append(folders, "upgrades/"+n.Name())
	}
	found := false
	for _, folder := range folders {
		found = found || folder == current
		binary, err := reaper.Find(filepath.Join(dir, folder, "bin", h.Name), "")
		switch {
		case errors.Is(err, reaper.ErrNotFound) && folder != current:
			continue // cosmovisor keeps empty folders for upgrades to come
		case err != nil:
			return fmt.Errorf("import %w", err)
		}
		if err := ValidName(filepath.Base(folder)); err != nil {
			return fmt.Errorf("import %s: %w", filepath.Join(dir, folder), err)
		}
		to := filepath.Join(h.Dir(), folder)
		if isDir(to) {
			continue
		}
		if err := h.place(binary, to); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("import %s: current points at %q, which is not there", dir, current)
	}
	if h.LaidOut() {
		return nil
	}
	if err := h.beginJournal(); err != nil {
		return err
	}
	return h.Switch(current)
}

// theirFolder is what cosmovisor's link names, as ours would. Theirs is absolute, so
// that it still names the place where the tree was before it was moved or mounted
// here.
func theirFolder(to string) string {
	to = filepath.Clean(to)
	name := filepath.Base(to)
	if filepath.Base(filepath.Dir(to)) == "upgrades" {
		return "upgrades/" + name
	}
	return name
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
