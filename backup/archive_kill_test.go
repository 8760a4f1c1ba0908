//go:build failpoint

package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// archiveChild is what TestChild does with a repository at dir.
func archiveChild(op, root, dir string) error {
	r := NewRepo(RepoConfig{Dir: dir, Floor: noFloor})
	infos, err := r.List()
	if err != nil {
		return err
	}
	switch op {
	case "archive-create":
		_, err = r.Create(ctx, Source{Tree: Tree{Root: root}}, CreateOptions{})
	case "archive-remove":
		err = r.Remove(ctx, infos[0].ID)
	case "archive-prune":
		_, err = r.Prune(ctx, Policy{KeepFull: 1}, false)
	case "archive-recover":
		_, err = r.Recover()
	case "archive-extract":
		_, err = r.Extract(ctx, infos[0].ID, root, ExtractOptions{})
	case "archive-verify":
		err = r.Verify(ctx, infos[0].ID, nil)
	default:
		err = fmt.Errorf("no such work: %s", op)
	}
	return err
}

// sound checks that what a repository lists is whole, that nothing else is in it
// after a sweep, and that it can be worked with.
func sound(t *testing.T, root, dir, after string) {
	t.Helper()
	r := NewRepo(RepoConfig{Dir: dir, Floor: noFloor})
	infos, err := r.List()
	if err != nil {
		t.Fatalf("after %s: %v", after, err)
	}
	for _, info := range infos {
		if info.Damage != "" || !info.Verified {
			t.Errorf("after %s: listed and damaged: %+v", after, info)
		}
		if err := r.Verify(ctx, info.ID, nil); err != nil {
			t.Errorf("after %s: listed and does not verify: %v", after, err)
		}
	}
	if _, err := r.Recover(); err != nil {
		t.Errorf("after %s: recover: %v", after, err)
	}
	if left, _ := os.ReadDir(dir); len(left) > len(infos)+1 {
		t.Errorf("after %s: swept, and there is %v", after, left)
	}
	create(t, r, root, CreateOptions{})
}

func TestAKilledRepositoryIsSound(t *testing.T) {
	t.Parallel()
	root := quick(t)
	write(t, filepath.Join(root, "geth/000001.sst"), string(chainData(1, 1<<20)))
	write(t, filepath.Join(root, "geth/CURRENT"), "c")
	good := filepath.Join(quick(t), "backups")
	r := NewRepo(RepoConfig{Dir: good, Floor: noFloor})
	for range 2 {
		create(t, r, root, CreateOptions{})
	}
	for _, op := range []string{"archive-create", "archive-remove", "archive-prune"} {
		t.Run(op, func(t *testing.T) {
			fresh := func() string {
				dir := filepath.Join(quick(t), "backups")
				if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
					t.Fatal(err)
				}
				return dir
			}
			all := points(t, op, root, fresh())
			if len(all) < 4 {
				t.Fatalf("only %q", all)
			}
			for _, point := range all {
				dir := fresh()
				if child(t, op, root, dir, point+"=exit", "", 0) {
					t.Errorf("it passed %s alive", point)
				}
				sound(t, root, dir, point)
			}
		})
	}
	// A sweep that dies is swept up after, too.
	for n := range 3 {
		dir := filepath.Join(quick(t), "backups")
		if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
			t.Fatal(err)
		}
		child(t, "archive-remove", root, dir, "archive.remove.unlisted=exit", "", 0)
		child(t, "archive-recover", root, dir, fmt.Sprintf("archive.remove.file#%d=exit", n+1), "", 0)
		sound(t, root, dir, "a sweep that died")
	}
}

func TestARepositoryKilledAtRandomIsSound(t *testing.T) {
	t.Parallel()
	root := quick(t)
	write(t, filepath.Join(root, "geth/000001.sst"), string(chainData(1, 4<<20+1)))
	rounds := 4
	if long() {
		rounds = 60
	}
	dir := filepath.Join(quick(t), "backups")
	begun := time.Now()
	child(t, "archive-create", root, dir, "", "", 0)
	whole := time.Since(begun)
	died := 0
	for range rounds {
		after := 1 + rand.N(whole)
		if !child(t, "archive-create", root, dir, "", "", after) {
			died++
		}
		if exists(dir) {
			sound(t, root, dir, "SIGKILL at "+after.String())
			child(t, "archive-prune", root, dir, "", "", 0)
		}
	}
	if died == 0 {
		t.Error("all were faster than the killer")
	}
}

// An extraction that dies leaves nothing that passes for a restored node: a folder that
// was not there is whole, or is not there; one that was says that it is not complete, or
// is, to the byte. Below the data directory the next start sweeps what was left.
func TestAKilledExtractionIsNoRestore(t *testing.T) {
	t.Parallel()
	source := t.TempDir()
	write(t, filepath.Join(source, "geth/000001.sst"), string(chainData(1, 1<<20)))
	write(t, filepath.Join(source, "geth/CURRENT"), "c")
	old := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	if err := errors.Join(os.Chtimes(source, old, old), os.Chmod(source, 0o551|fs.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(quick(t), "backups")
	r := NewRepo(RepoConfig{Dir: dir, Floor: noFloor})
	info := create(t, r, source, CreateOptions{})
	want := picture(t, source)
	for _, there := range []bool{false, true} {
		fresh := func() string {
			to := filepath.Join(t.TempDir(), "to")
			if there {
				if err := os.Mkdir(to, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			return to
		}
		all := points(t, "archive-extract", fresh(), dir)
		if len(all) < 5 {
			t.Fatalf("only %q", all)
		}
		for _, point := range all {
			to := fresh()
			if child(t, "archive-extract", to, dir, point+"=exit", "", 0) {
				t.Errorf("it passed %s alive", point)
			}
			entries, err := os.ReadDir(to)
			switch {
			case there && (len(entries) == 0 || exists(filepath.Join(to, unfinished))):
				if _, err := r.Extract(ctx, info.ID, to, ExtractOptions{}); len(entries) > 0 && (err == nil || !strings.Contains(err.Error(), to)) {
					t.Errorf("after %s: want the folder named, have %v", point, err)
				}
			case there && strings.HasPrefix(point, "archive.extract.unmarked"): // its own time alone is to come
				samePicture(t, timeless(want), timeless(picture(t, to)))
			case there:
				samePicture(t, want, picture(t, to))
			case err == nil:
				samePicture(t, want, picture(t, to))
			default:
				if _, err := r.Extract(ctx, info.ID, to, ExtractOptions{}); err != nil {
					t.Fatalf("after %s, again: %v", point, err)
				}
				samePicture(t, want, picture(t, to))
				if left, _ := os.ReadDir(filepath.Dir(to)); len(left) != 1 {
					t.Errorf("after %s, again: beside it there is %v", point, left)
				}
			}
		}
	}
	s := snapshotter(t.TempDir())
	incoming, err := s.Incoming()
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range points(t, "archive-extract", filepath.Join(t.TempDir(), "to"), dir) {
		child(t, "archive-extract", filepath.Join(incoming, info.ID), dir, point+"=exit", "", 0)
		if _, err := s.Recover(ctx); err != nil {
			t.Errorf("after %s: recover: %v", point, err)
		}
		if left, _ := os.ReadDir(incoming); len(left) > 0 {
			t.Errorf("after %s: not swept: %v", point, left)
		}
	}
}

// timeless is a picture without the root's own time.
func timeless(p string) string {
	lines := strings.Split(p, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, `" d `) {
			fields := strings.Fields(l)
			lines[i] = strings.Join(fields[:len(fields)-1], " ")
		}
	}
	return strings.Join(lines, "\n")
}
