package backup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// refused checks that neither Verify nor Extract takes an archive, that both name
// what is wrong, and that nothing is left of it.
func refused(t *testing.T, folder, naming string) {
	t.Helper()
	r := newRepo(t)
	err := r.Verify(context.Background(), folder, nil)
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), naming) {
		t.Errorf("verify: want it refused naming %q, have %v", naming, err)
	}
	above := t.TempDir()
	_, err = r.Extract(context.Background(), folder, filepath.Join(above, "to"), ExtractOptions{Secrets: true})
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), naming) {
		t.Errorf("extract: want it refused naming %q, have %v", naming, err)
	}
	if left, _ := os.ReadDir(above); len(left) > 0 {
		t.Errorf("extract left %v", left)
	}
}

func TestForgedArchivesAreRefused(t *testing.T) {
	t.Parallel()
	link := func(kind, at, target string) *Item {
		return &Item{Path: fileName(at), Type: kind, Mode: 0o777, Target: fileName(target)}
	}
	for _, tc := range []struct {
		name, naming string
		items        []*Item
	}{
		{"a path that climbs", "../x", []*Item{folderItem("../x")}},
		{"a path that climbs inside", "a/../../x", []*Item{folderItem("a"), folderItem("a/../../x")}},
		{"an absolute path", "/etc/x", []*Item{folderItem("/etc/x")}},
		{"an empty part", "a//b", []*Item{folderItem("a"), folderItem("a//b")}},
		{"a name of 256 bytes", "nnn", []*Item{folderItem(strings.Repeat("n", 256))}},
		{"a symlink that climbs", "a/evil", []*Item{folderItem("a"), link(itemSymlink, "a/evil", "../../etc")}},
		{"an absolute symlink", "evil", []*Item{link(itemSymlink, "evil", "/etc/passwd")}},
		{"a hard link that climbs", "evil", []*Item{link(itemHardLink, "evil", "../../etc/passwd")}},
		{"an absolute hard link", "evil", []*Item{link(itemHardLink, "evil", "/etc/passwd")}},
		{"a hard link to nothing", "evil", []*Item{link(itemHardLink, "evil", "a")}},
		{"an entry twice", "a", []*Item{folderItem("a"), folderItem("a")}},
		{"an entry out of order", "a", []*Item{folderItem("b"), folderItem("a")}},
		{"a device", "null", []*Item{{Path: "null", Type: "device", Mode: 0o666}}},
		{"a folder with content", "a", []*Item{{Path: "a", Type: itemFolder, Size: 3}}},
		{"a second root", "\".\"", []*Item{folderItem(".")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			refused(t, forge(t, func(p *packer) error {
				for _, it := range append([]*Item{folderItem(".")}, tc.items...) {
					if err := p.write(it, nil); err != nil {
						return err
					}
				}
				return nil
			}), tc.naming)
		})
	}
}

// What only Extract can see, as Verify keeps no list of folders.
func TestAFileInNoFolderIsNotExtracted(t *testing.T) {
	for name, parent := range map[string]*Item{
		"none":      folderItem("a"),
		"a symlink": {Path: "b", Type: itemSymlink, Mode: 0o777, Target: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := forge(t, func(p *packer) error {
				if err := errors.Join(p.write(folderItem("."), nil), p.write(parent, nil)); err != nil {
					return err
				}
				p.write1(t, "b/x", "x")
				return nil
			})
			to := filepath.Join(t.TempDir(), "to")
			_, err := newRepo(t).Extract(context.Background(), folder, to, ExtractOptions{})
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "b/x") || exists(to) {
				t.Errorf("want b/x refused and nothing left, have %v", err)
			}
		})
	}
}

func TestStreamAndManifestMustAgree(t *testing.T) {
	t.Parallel()
	header := func(p *packer, it *Item) {
		h, err := it.header()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.put(h); err != nil {
			t.Fatal(err)
		}
	}
	list := func(p *packer, it *Item) {
		p.count++
		if err := p.items.add(it); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name, naming string
		then         func(p *packer)
	}{
		{"an entry that only the stream has", "b", func(p *packer) {
			header(p, folderItem("a2"))
			p.write1(t, "b", "b")
		}},
		{"an entry that only the list has", "a2", func(p *packer) {
			list(p, folderItem("a2"))
			p.write1(t, "b", "b")
		}},
		{"an entry that only the list has, at the end", "z", func(p *packer) { list(p, folderItem("z")) }},
		{"an entry that only the stream has, at the end", manifestFile, func(p *packer) { header(p, folderItem("z")) }},
		{"another name", "a2", func(p *packer) { header(p, folderItem("../evil")); list(p, folderItem("a2")) }},
		{"another type", "a2", func(p *packer) {
			header(p, &Item{Path: "a2", Type: itemSymlink, Mode: 0o755, Target: "/etc"})
			list(p, folderItem("a2"))
		}},
		{"another target", "l", func(p *packer) {
			header(p, &Item{Path: "l", Type: itemSymlink, Mode: 0o777, Target: "/etc"})
			list(p, &Item{Path: "l", Type: itemSymlink, Mode: 0o777, Target: "etc"})
		}},
		{"another mode", "a2", func(p *packer) {
			header(p, &Item{Path: "a2", Type: itemFolder, Mode: 0o4777})
			list(p, folderItem("a2"))
		}},
		{"a larger file", "bomb", func(p *packer) {
			header(p, fileItem("bomb", 1<<40))
			list(p, fileItem("bomb", 1))
			p.files, p.bytes = p.files+1, p.bytes+1
		}},
		{"files that are more than all", "bomb", func(p *packer) {
			header(p, fileItem("bomb", 1<<40))
			list(p, fileItem("bomb", 1<<40))
			p.files++
		}},
		{"other content", "c", func(p *packer) {
			it := fileItem("c", 1)
			header(p, it)
			it.At, it.Hash = p.at, strings.Repeat("0", 32)
			if err := p.put([]byte("c")); err != nil {
				t.Fatal(err)
			}
			if err := p.pad(1); err != nil {
				t.Fatal(err)
			}
			list(p, it)
			p.files, p.bytes = p.files+1, p.bytes+1
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			refused(t, forge(t, func(p *packer) error {
				if err := p.write(folderItem("."), nil); err != nil {
					return err
				}
				p.write1(t, "a", "a")
				tc.then(p)
				return nil
			}), tc.naming)
		})
	}
}
