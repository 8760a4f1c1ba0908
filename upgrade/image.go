package upgrade

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-kit/log/level"
)

// image takes up the binary that is bundled with the image. One that this volume
// has never held is an upgrade for now, so that a new image upgrades the node.
// One that is older, or the same release, or was held before, is not: the node
// runs on, and an operator is told.
func (u *Upgrader) image(ctx context.Context) error {
	file := u.cfg.Bundled
	if file == "" {
		return nil
	}
	sum, err := u.bundled(ctx, file)
	if err != nil {
		return fmt.Errorf("read the image's node binary: %w", err)
	}
	s := u.journal.read()
	current := u.cfg.Home.Current()
	now256 := u.current256(u.cfg.Home.folder())
	if sum == now256 {
		return nil
	}
	if u.cfg.ImagePolicy == ImageIgnore {
		return nil
	}
	filings, _ := u.cfg.Queue.Look()
	for _, f := range filings { // not in the journal yet
		if r := s.record(f.Name); r == nil {
			s = &state{Seen: s.Seen, Records: append(s.Records[:len(s.Records):len(s.Records)], &Record{Plan: f.Plan, Digest: f.Digest, Stage: Scheduled})}
		}
	}
	tell := func(text string) {
		level.Warn(u.logger).Log("msg", "image's node binary not adopted; the node runs on with its own", "current", current, "why", text)
		u.alarms.fire("image", "the image's node binary is not adopted: "+text, false)
	}
	if seen, held := s.Seen[sum]; held {
		if r := s.record(seen.Name); r != nil && (r.Stage.Pending() || r.Stage == Switching || r.Stage == Confirming) {
			return nil
		}
		tell(fmt.Sprintf("this volume has held it before, as %s, and runs %s now; to go back: wemixvisor rollback", seen.Name, current))
		return nil
	}
	theirs, err := version(ctx, u.cfg.Reaper, file, u.cfg.Env, u.cfg.VersionTimeout)
	if err != nil {
		tell(oneLine(err))
		return nil
	}
	for _, r := range s.Records { // an unfinished plan governs
		if r.Stage.Pending() && means(r, sum, theirs) {
			return u.stageBundled(r, file, sum, theirs)
		}
	}
	ours, err := version(ctx, u.cfg.Reaper, u.cfg.Home.binary(u.cfg.Home.folder()), u.cfg.Env, u.cfg.VersionTimeout)
	if err != nil {
		ours = ""
	}
	order, comparable := compareVersions(theirs, ours)
	switch {
	case comparable && order < 0:
		tell(fmt.Sprintf("it is %s, older than %s, which this volume runs; to go back: wemixvisor rollback", theirs, ours))
		return nil
	case comparable && order == 0:
		tell(fmt.Sprintf("it is another build of %s, which this volume runs; to run it all the same: wemixvisor upgrade schedule NAME 0 --binary %s", ours, file))
		return nil
	case u.cfg.ImagePolicy == ImageSeed:
		tell(fmt.Sprintf("it is %s, this volume runs %s, and image-policy is seed; to run it: wemixvisor upgrade schedule NAME 0 --binary %s", theirs, ours, file))
		return nil
	}
	name := imageName(theirs, sum)
	if err := u.cfg.Home.Stage(file, name); err != nil {
		return err
	}
	level.Info(u.logger).Log("msg", "new node binary in the image; adopting it", "plan", name, "from", ours, "to", theirs)
	p := Plan{Name: name, By: ByImage, Filed: time.Now().UTC(), Info: Info{Checksums: map[string]string{anyPlatform: "sha256:" + sum}}}
	return u.cfg.Home.File(p)
}

// means reports whether a plan is for the binary with that checksum or version.
func means(r *Record, sum, version string) bool {
	_, checksum := r.Info.Here()
	if strings.EqualFold(checksum, "sha256:"+sum) || r.SHA256 == sum {
		return true
	}
	if checksum != "" || r.SHA256 != "" {
		return false // it is for another
	}
	order, ok := compareVersions(r.Name, version)
	return ok && order == 0
}

// stageBundled gives the image's binary to a plan that has none yet.
func (u *Upgrader) stageBundled(r *Record, file, sum, version string) error {
	if u.stat(r) != (fileID{}) {
		return nil
	}
	level.Info(u.logger).Log("msg", "the image holds the binary of a plan; staging it", "plan", r.Name, "version", version)
	if err := u.cfg.Home.Stage(file, r.Name); err != nil {
		return err
	}
	return u.journal.update(func(s *state) { s.see(sum, r.Name, version) })
}

// bundled returns the checksum of the image's binary, without reading it again
// where it is the file it was.
func (u *Upgrader) bundled(ctx context.Context, file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	id := idOf(info)
	if mark := u.journal.read().Image; mark.File == id && id.settled(time.Now()) {
		return mark.SHA256, nil
	}
	sum, err := hashFile(ctx, file)
	if err != nil {
		return "", err
	}
	return sum, u.journal.update(func(s *state) { s.Image = imageMark{id, sum} })
}

// current256 returns the checksum of the binary in use; empty when it cannot be
// read. What was hashed before and has not changed is not read again.
func (u *Upgrader) current256(folder string) string {
	file := u.cfg.Home.binary(folder)
	info, err := os.Stat(file)
	if err != nil {
		return ""
	}
	if in, ok := u.checked[file]; ok && in.file == idOf(info) {
		return in.sha256
	}
	if r := u.journal.read().record(folderName(folder)); r != nil && r.File == idOf(info) && r.SHA256 != "" {
		return r.SHA256
	}
	sum, err := hashFile(context.Background(), file)
	if err != nil {
		return ""
	}
	u.checked[file] = inspected{file: idOf(info), sha256: sum, err: errNotInspected}
	return sum
}

// imageName is what an adopted binary's upgrade is called.
func imageName(version, sum string) string {
	safe := strings.Map(func(r rune) rune {
		if ValidName("x"+string(r)) != nil {
			return '-'
		}
		return r
	}, version)
	if len(safe) > 100 {
		safe = safe[:100]
	}
	return "image-" + safe + "-" + sum[:8]
}
