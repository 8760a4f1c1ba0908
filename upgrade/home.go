package upgrade

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wemix/wemixvisor/backup/durable"
	"github.com/wemix/wemixvisor/backup/failpoint"
	"github.com/wemix/wemixvisor/reaper"
)

// Home is the layout of one volume. It is a value: nothing is read before it
// is asked for.
type Home struct {
	Root string // absolute; DAEMON_HOME
	Name string // file name of the node binary
}

// Dir is the folder that is ours.
func (h Home) Dir() string { return filepath.Join(h.Root, "wemixvisor") }

// Genesis is the binary the volume began with.
func (h Home) Genesis() string { return h.binary("genesis") }

// binary is the node binary in a folder that the link may name.
func (h Home) binary(folder string) string { return filepath.Join(h.Dir(), folder, "bin", h.Name) }

// downloads is where unfinished downloads are kept.
func (h Home) downloads() string { return filepath.Join(h.Dir(), ".downloads") }

// link is what names the binary in use.
func (h Home) link() string { return filepath.Join(h.Dir(), "current") }

// Program returns the binary in use, through the link as it is now.
func (h Home) Program() (string, error) {
	file := filepath.Join(h.link(), "bin", h.Name)
	_, err := os.Lstat(h.link())
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no node binary in %s: %w; run: wemixvisor init PATH", h.Root, reaper.ErrNotFound)
	}
	if _, err := reaper.Find(file, ""); err != nil {
		return "", fmt.Errorf("node binary %w; look where %s points", err, h.link())
	}
	return file, nil
}

// folder returns what the link names, as it stands in it; empty without a link.
func (h Home) folder() string {
	to, err := os.Readlink(h.link())
	if err != nil {
		return ""
	}
	return to
}

// Current returns what the link names: genesis, or the name of an upgrade. It
// is empty when there is no link.
func (h Home) Current() string {
	return folderName(h.folder())
}

// LaidOut reports whether the volume has a binary in use.
func (h Home) LaidOut() bool {
	_, err := os.Lstat(h.link())
	return err == nil
}

// Check reports what keeps a node from being started on the volume, before
// anything is written to it. An empty bundled means that the image holds none.
func (h Home) Check(bundled string) error {
	if h.LaidOut() {
		_, err := h.Program()
		return err
	}
	if _, err := os.Stat(h.Genesis()); errors.Is(err, fs.ErrNotExist) && bundled == "" {
		return fmt.Errorf("no node binary: neither %s nor %s in PATH: %w; put one into the image, or run: wemixvisor init PATH", h.Genesis(), h.Name, reaper.ErrNotFound)
	}
	return nil
}

// Prepare makes the volume ready for a first start: it seeds an empty one with
// the bundled binary, and points the link at genesis where there is a genesis
// and nothing else. What is there is never replaced. The caller has locked the
// volume: what was left half made is removed.
func (h Home) Prepare(bundled string) error {
	h.sweep()
	if err := h.Check(bundled); err != nil || h.LaidOut() {
		return err
	}
	upgrades, err := os.ReadDir(filepath.Join(h.Dir(), "upgrades"))
	if err == nil && len(upgrades) > 0 {
		return fmt.Errorf("%s is missing while there are upgrades: point it at the one in use, for example: ln -s upgrades/%s %s",
			h.link(), upgrades[len(upgrades)-1].Name(), h.link())
	}
	if _, err := os.Stat(h.Genesis()); errors.Is(err, fs.ErrNotExist) {
		if err := h.place(bundled, filepath.Join(h.Dir(), "genesis")); err != nil {
			return err
		}
	}
	if err := h.beginJournal(); err != nil {
		return err
	}
	return h.Switch("genesis")
}

// sweep removes what somebody was making who lost power, or was killed. A binary
// in the making may be large, and is made anew under another name.
func (h Home) sweep() {
	for _, pattern := range []string{
		".current-*", ".place-*", "upgrades/.place-*", "upgrades/*/bin/.stage-*", "queue/.*.json-*", "plans/.*.json-*", ".*.json-*",
	} {
		left, _ := filepath.Glob(filepath.Join(h.Dir(), pattern))
		for _, file := range left {
			_ = os.RemoveAll(file)
		}
	}
}

// Switch points the link at to: genesis, or upgrades/NAME. Whoever loses power
// in between finds the old link or the new one.
func (h Home) Switch(to string) error {
	if h.folder() == to { // on a full disk, going back to where it is must not fail
		return durable.SyncDir(h.Dir())
	}
	tmp := filepath.Join(h.Dir(), ".current-"+rand.Text())
	if err := os.Symlink(to, tmp); err != nil {
		return fmt.Errorf("switch to %s: %w", to, err)
	}
	if err := os.Rename(tmp, h.link()); err != nil {
		_ = os.Remove(tmp)
		return fmt.Errorf("switch to %s: %w", to, err)
	}
	failpoint.At("link.renamed")
	return durable.SyncDir(h.Dir())
}

// Stage puts a binary where the upgrade of that name expects it, whole or not at
// all. One that is there already is replaced, if it differs; what else is in the
// folder stays.
func (h Home) Stage(binary, name string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	if h.Current() == name {
		return fmt.Errorf("stage %s: %s is in use; choose another name", binary, name)
	}
	if _, err := reaper.Find(binary, ""); err != nil {
		return fmt.Errorf("stage %w", err)
	}
	to := h.binary("upgrades/" + name)
	dir := filepath.Dir(to)
	if !isDir(filepath.Dir(dir)) {
		return h.place(binary, filepath.Dir(dir))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("stage %s: %w", binary, err)
	}
	tmp := filepath.Join(dir, ".stage-"+rand.Text())
	defer os.Remove(tmp) // nothing is left of it once it was renamed
	if err := copyFile(binary, tmp, 0o755); err != nil {
		return fmt.Errorf("stage %s: %w", binary, err)
	}
	if err := os.Rename(tmp, to); err != nil {
		return fmt.Errorf("stage %s: %w", binary, err)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := durable.SyncDir(d); err != nil {
			return fmt.Errorf("stage %s: %w", binary, err)
		}
	}
	return nil
}

// place copies the binary into folder, whole or not at all: it is made under
// another name and renamed when it is on disk.
func (h Home) place(binary, folder string) (err error) {
	parent := filepath.Dir(folder)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("place %s: %w", binary, err)
	}
	tmp, err := os.MkdirTemp(parent, ".place-")
	if err != nil {
		return fmt.Errorf("place %s: %w", binary, err)
	}
	defer os.RemoveAll(tmp) // nothing is left of it once it was renamed
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("place %s: %w", binary, err)
	}
	bin := filepath.Join(tmp, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return fmt.Errorf("place %s: %w", binary, err)
	}
	if err := copyFile(binary, filepath.Join(bin, h.Name), 0o755); err != nil {
		return fmt.Errorf("place %s: %w", binary, err)
	}
	for _, dir := range []string{bin, tmp} {
		if err := durable.SyncDir(dir); err != nil {
			return fmt.Errorf("place %s: %w", binary, err)
		}
	}
	failpoint.At("place.copied")
	if err := os.Rename(tmp, folder); err != nil {
		return fmt.Errorf("place %s: %w", binary, err)
	}
	return durable.SyncDir(parent)
}

func copyFile(from, to string, mode fs.FileMode) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync()
}
