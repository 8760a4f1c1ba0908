package backup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestACopiedFolderIsAnArchiveAnywhere(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "geth/a"), "a")
	from := newRepo(t)
	info := create(t, from, root, CreateOptions{Origin: Origin{Version: "v1", Height: 7, Consistency: Stopped}})
	folder := filepath.Join(t.TempDir(), "renamed by hand")
	if err := os.CopyFS(folder, os.DirFS(filepath.Join(from.cfg.Dir, info.ID))); err != nil {
		t.Fatal(err)
	}
	r := newRepo(t)
	if err := r.Verify(ctx, folder, nil); err != nil {
		t.Errorf("verify: %v", err)
	}
	to := filepath.Join(t.TempDir(), "to")
	have, err := r.Extract(ctx, folder, to, ExtractOptions{})
	if err != nil || have.ID != info.ID || have.Origin != info.Origin {
		t.Errorf("extract: %+v, %v", have, err)
	}
	samePicture(t, picture(t, root), picture(t, to))
	t.Chdir(filepath.Dir(folder))
	if err := r.Verify(ctx, filepath.Base(folder), nil); err != nil {
		t.Errorf("verify by a relative path: %v", err)
	}
	for _, none := range []string{info.ID, "/nowhere", t.TempDir()} {
		if err := r.Verify(ctx, none, nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: want ErrNotFound, have %v", none, err)
		}
	}
}

func TestExtractWantsAFreshFolder(t *testing.T) {
	t.Parallel()
	root, to := t.TempDir(), t.TempDir()
	write(t, filepath.Join(root, "a"), "new")
	write(t, filepath.Join(to, "a"), "old")
	r := newRepo(t)
	info := create(t, r, root, CreateOptions{})
	if _, err := r.Extract(ctx, info.ID, to, ExtractOptions{}); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("want it refused, have %v", err)
	}
	if text, _ := os.ReadFile(filepath.Join(to, "a")); string(text) != "old" {
		t.Errorf("what was there is now %q", text)
	}
}

func TestVerifyNotesWhatItFound(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "a"), string(chainData(1, 1<<20)))
	r := newRepo(t)
	info := create(t, r, root, CreateOptions{})
	data := filepath.Join(r.cfg.Dir, info.ID, dataFile)
	damage := func() {
		if err := overwrite(data, "XXXX"); err != nil {
			t.Fatal(err)
		}
	}
	verified := func() bool {
		infos, err := r.List()
		if err != nil || len(infos) != 1 {
			t.Fatal(infos, err)
		}
		return infos[0].Verified
	}
	good, err := os.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	damage()
	if err := r.Verify(ctx, info.ID, nil); !errors.Is(err, ErrCorrupt) || verified() {
		t.Errorf("want it known to be corrupt, have %v, verified %v", err, verified())
	}
	if err := os.WriteFile(data, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(ctx, info.ID, nil); err != nil || !verified() {
		t.Errorf("want it known to be whole again, have %v, verified %v", err, verified())
	}
	if err := os.Truncate(data, 100); err != nil {
		t.Fatal(err)
	}
	if infos, _ := r.List(); infos[0].Verified || !strings.Contains(infos[0].Damage, dataFile) {
		t.Errorf("want the short copy noticed at a glance, have %+v", infos[0])
	}
}

// A second creator is told who the first is.
func TestTwoCreatorsAtOnce(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "a"), "a")
	r := newRepo(t)
	var second error
	_, err := r.Create(ctx, Source{Tree: Tree{Root: root}}, CreateOptions{OnProgress: func(Progress) {
		_, second = NewRepo(r.cfg).Create(ctx, Source{Tree: Tree{Root: root}}, CreateOptions{})
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(second, ErrBusy) || !strings.Contains(second.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("want busy, and by whom, have %v", second)
	}
	if infos, err := r.List(); err != nil || len(infos) != 1 {
		t.Errorf("want one archive, have %v, %v", infos, err)
	}
}

func TestTheSourceMustHoldStill(t *testing.T) {
	t.Parallel()
	grow := func(file string) func(Progress) {
		return func(Progress) { appendTo(file, "more") }
	}
	vanish := func(file string) func(Progress) {
		return func(Progress) { os.Remove(file) }
	}
	for _, tc := range []struct {
		name, file string
		do         func(string) func(Progress)
		online     bool
		want       error
	}{
		{"a file grows while it is read", "1", grow, false, ErrChanged},
		{"a file grows before it is read", "2", grow, false, ErrChanged},
		{"a file vanishes", "2", vanish, false, nil}, // fs.ErrNotExist or ErrChanged: seen below
		{"a file grows while it is read, online", "1", grow, true, nil},
		{"a file grows before it is read, online", "2", grow, true, nil},
		{"a file vanishes, online", "2", vanish, true, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := t.TempDir()
			for _, name := range []string{"1", "2"} {
				write(t, filepath.Join(root, name), string(chainData(1, 1<<20)))
			}
			r := newRepo(t)
			info, err := r.Create(ctx, Source{Tree: Tree{Root: root}, Online: tc.online}, CreateOptions{OnProgress: tc.do(filepath.Join(root, tc.file))})
			if tc.online {
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Verify(ctx, info.ID, nil); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("want it refused, have %v", err)
			}
			if infos, _ := r.List(); len(infos) > 0 {
				t.Errorf("listed: %v", infos)
			}
		})
	}
}

func TestDataOutOfReachIsALoss(t *testing.T) {
	root, out := t.TempDir(), t.TempDir()
	write(t, filepath.Join(root, "geth/a"), "a")
	if err := os.Symlink(out, filepath.Join(root, "geth/ancient")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(root, "dangling")); err != nil {
		t.Fatal(err)
	}
	r := newRepo(t)
	if _, err := r.Create(ctx, Source{Tree: Tree{Root: root}}, CreateOptions{}); !errors.Is(err, ErrPartial) || !strings.Contains(err.Error(), "geth/ancient") {
		t.Fatalf("want it refused, have %v", err)
	}
	info := create(t, r, root, CreateOptions{AllowPartial: true})
	if !info.Partial || len(info.Excluded) != 2 {
		t.Errorf("want it to say so, have %+v", info)
	}
	to := extract(t, r, info.ID, ExtractOptions{})
	if exists(filepath.Join(to, "geth/ancient")) || !exists(filepath.Join(to, "geth/a")) {
		t.Error("the link out is restored")
	}
}

// ramDisk makes a small file system and returns where it is.
func ramDisk(t *testing.T, size string) string {
	t.Helper()
	at := t.TempDir()
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("no right to mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	return at
}

func TestAFullDiskLeavesNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "1.sst"), string(chainData(1, 12<<20)))
	// From no room for the first frame to room for all but the last bytes.
	for _, size := range []string{"64k", "3m", "6m"} {
		for _, known := range []bool{true, false} {
			disk := ramDisk(t, size)
			r := NewRepo(RepoConfig{Dir: filepath.Join(disk, "backups"), Floor: noFloor})
			src := Source{Tree: Tree{Root: root}}
			if !known { // the estimate does not see it coming: the disk fills up later
				src.Online = true
			}
			if err := os.Mkdir(r.cfg.Dir, 0o700); err != nil {
				t.Fatal(err)
			}
			o := CreateOptions{}
			if !known {
				// A last ratio that promises much.
				write(t, filepath.Join(r.cfg.Dir, "20200101T000000Z-000001-full", infoFile), `{"format":1,"id":"20200101T000000Z-000001-full","kind":"full","bytes":0,"data_bytes":999999999,"verified":true}`)
				promise(t, filepath.Join(r.cfg.Dir, "20200101T000000Z-000001-full"))
			}
			_, err := r.Create(ctx, src, o)
			if !errors.Is(err, ErrNoSpace) {
				t.Fatalf("%s: want no space, have %v", size, err)
			}
			names, _ := os.ReadDir(r.cfg.Dir)
			for _, name := range names {
				if strings.HasPrefix(name.Name(), ".m") {
					t.Errorf("%s: left %s", size, name.Name())
				}
			}
		}
	}
}

// promise gives an info the files that a glance looks for.
func promise(t *testing.T, folder string) {
	t.Helper()
	for _, name := range []string{dataFile, manifestFile} {
		write(t, filepath.Join(folder, name), "")
	}
}

func TestTheFloorIsTheNodes(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "1.sst"), string(chainData(1, 12<<20)))
	disk := ramDisk(t, "60m")
	r := NewRepo(RepoConfig{Dir: filepath.Join(disk, "backups"), Floor: Floor{Bytes: 30 << 20}})
	// Somebody else fills the disk meanwhile.
	fill := func(p Progress) {
		if file := filepath.Join(disk, "node"); !exists(file) {
			write(t, file, strings.Repeat("x", 35<<20))
		}
	}
	_, err := r.Create(ctx, Source{Tree: Tree{Root: root}}, CreateOptions{OnProgress: fill})
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "MiB") {
		t.Errorf("want no space with figures, have %v", err)
	}
	if infos, _ := r.List(); len(infos) > 0 {
		t.Errorf("listed: %v", infos)
	}
}

func TestExtractOnAFullDiskLeavesNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "1.sst"), string(chainData(1, 12<<20)))
	r := newRepo(t)
	info := create(t, r, root, CreateOptions{})
	disk := ramDisk(t, "16m")
	write(t, filepath.Join(disk, "else"), strings.Repeat("x", 6<<20))
	to := filepath.Join(disk, "to")
	if _, err := r.Extract(ctx, info.ID, to, ExtractOptions{}); !errors.Is(err, ErrNoSpace) || exists(to) {
		t.Errorf("want no space and nothing left, have %v", err)
	}
	r.cfg.Floor = Floor{Bytes: -1 << 40} // the check sees no lack: the disk is full later
	if _, err := r.Extract(ctx, info.ID, to, ExtractOptions{}); !errors.Is(err, ErrNoSpace) || exists(to) {
		t.Errorf("want no space and nothing left, have %v", err)
	}
}

func TestAReadOnlyRepositoryIsRead(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "a"), "a")
	disk := ramDisk(t, "50m")
	r := NewRepo(RepoConfig{Dir: filepath.Join(disk, "backups"), Floor: noFloor})
	info := create(t, r, root, CreateOptions{})
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Skip(err)
	}
	if err := r.Verify(ctx, info.ID, nil); err != nil {
		t.Errorf("verify: %v", err)
	}
	extract(t, r, info.ID, ExtractOptions{})
	for what, err := range map[string]error{
		"create": func() error { _, err := r.Create(ctx, Source{Tree: Tree{Root: root}}, CreateOptions{}); return err }(),
		"room":   r.Room(ctx, Source{Tree: Tree{Root: root}}, CreateOptions{}),
		"remove": r.Remove(ctx, info.ID),
		"prune":  func() error { _, err := r.Prune(ctx, Policy{}, false); return err }(),
	} {
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: want the read-only file system named, have %v", what, err)
		}
	}
}

// A disk that cannot be read is no corrupt archive, and no whole one.
func TestADiskThatCannotBeRead(t *testing.T) {
	t.Parallel()
	disk, image := volume(t, "ext4", "60M", "-O", "^has_journal")
	root := t.TempDir()
	write(t, filepath.Join(root, "1.sst"), string(chainData(1, 40<<20)))
	r := NewRepo(RepoConfig{Dir: filepath.Join(disk, "backups"), Floor: noFloor})
	info := create(t, r, root, CreateOptions{})
	if err := os.Truncate(image, 16<<20); err != nil { // the blocks of its later half are gone
		t.Fatal(err)
	}
	if err := r.Verify(ctx, info.ID, nil); !errors.Is(err, unix.EIO) || errors.Is(err, ErrCorrupt) {
		t.Errorf("verify: want an input/output error, have %v", err)
	}
	to := filepath.Join(t.TempDir(), "to")
	if _, err := r.Extract(ctx, info.ID, to, ExtractOptions{}); !errors.Is(err, unix.EIO) || exists(to) {
		t.Errorf("extract: want an input/output error, have %v", err)
	}
}

// The kernel takes what is written and only the fsync tells that the disk did not.
func TestADiskThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	image, disk := filepath.Join(ramDisk(t, "12m"), "image"), t.TempDir()
	run(t, "truncate", "-s", "60M", image)
	run(t, "mkfs.ext4", "-q", "-O", "^has_journal", image)
	run(t, "mount", "-o", "loop", image, disk)
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	root := t.TempDir()
	write(t, filepath.Join(root, "1.sst"), string(chainData(1, 40<<20)))
	r := NewRepo(RepoConfig{Dir: filepath.Join(disk, "backups"), Floor: noFloor})
	if _, err := r.Create(ctx, Source{Tree: Tree{Root: root}}, CreateOptions{}); !errors.Is(err, unix.EIO) && !errors.Is(err, ErrNoSpace) { // the loop device knows why
		t.Errorf("want an input/output error, have %v", err)
	}
	if infos, _ := r.List(); len(infos) > 0 {
		t.Errorf("listed: %v", infos)
	}
}
