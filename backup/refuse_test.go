package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"
)

// forge makes an archive of what pack writes, by the same hand that makes good
// ones, and returns its folder.
func forge(t testing.TB, pack func(*packer) error) string {
	t.Helper()
	r := newRepo(t)
	folder := filepath.Join(t.TempDir(), "forged")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 4, 30, 12, 0, time.UTC)
	m := Manifest{Format: archiveFormat, Program: "v1.2.3", ID: NewID(now, 42, KindFull), Created: now, Kind: KindFull, Excluded: []Excluded{}}
	info, _, err := r.fill(context.Background(), folder, &m, CreateOptions{Level: 1}, false, func(int64) {}, pack)
	if err != nil {
		t.Fatal(err)
	}
	info.Verified = true
	if err := writeJSON(filepath.Join(folder, infoFile), info); err != nil {
		t.Fatal(err)
	}
	return folder
}

// content returns an open file with text in it.
func content(t testing.TB, text string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "content"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return f
}

func folderItem(at string) *Item { return &Item{Path: fileName(at), Type: itemFolder, Mode: 0o755} }

func fileItem(at string, size int) *Item {
	return &Item{Path: fileName(at), Type: itemFile, Mode: 0o644, Size: int64(size)}
}

// write1 writes a file of the given text, and counts it.
func (p *packer) write1(t testing.TB, at, text string) {
	t.Helper()
	if err := p.write(fileItem(at, len(text)), content(t, text)); err != nil {
		t.Fatal(err)
	}
	p.files++
	p.bytes += int64(len(text))
}

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

// good are archives of several frames, by seed; made once, as that takes a while.
var good sync.Map

// goodArchive returns a copy of a good archive of several frames, and where those end.
func goodArchive(t testing.TB, seed int64) (folder string, ends []int64) {
	t.Helper()
	type archive struct {
		files map[string][]byte
		ends  []int64
	}
	made, _ := good.LoadOrStore(seed, sync.OnceValue(func() (a archive) {
		folder, ends := severalFrames(t, seed)
		a.ends, a.files = ends, map[string][]byte{}
		for _, name := range []string{dataFile, manifestFile, infoFile} {
			text, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				t.Fatal(err)
			}
			a.files[name] = text
		}
		return a
	}))
	a := made.(func() archive)()
	if len(a.files) < 3 {
		t.Fatal("it could not be made")
	}
	folder = filepath.Join(t.TempDir(), "good")
	for name, text := range a.files {
		write(t, filepath.Join(folder, name), string(text))
	}
	return folder, a.ends
}

func severalFrames(t testing.TB, seed int64) (folder string, ends []int64) {
	t.Helper()
	var m *Manifest
	folder = forge(t, func(p *packer) error {
		if err := p.write(folderItem("."), nil); err != nil {
			return err
		}
		p.write1(t, "000001.sst", string(chainData(seed, 9<<20)))
		return nil
	})
	a, err := openArchive(folder, infoOf(t, folder))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	m = &a.list.Manifest
	at := int64(0)
	for _, n := range m.Frames {
		at += int64(n)
		ends = append(ends, at)
	}
	if len(ends) != 3 {
		t.Fatalf("want 3 frames, have %d", len(ends))
	}
	return folder, ends
}

func infoOf(t testing.TB, folder string) Info {
	t.Helper()
	info, err := readInfo(folder)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// At every place of a small archive, and around the frames' ends of a larger one.
func TestAFlippedByteAnywhereIsRefused(t *testing.T) {
	t.Parallel()
	large, ends := goodArchive(t, 1)
	small := forge(t, func(p *packer) error {
		if err := p.write(folderItem("."), nil); err != nil {
			return err
		}
		p.write1(t, "000001.sst", "a little")
		return p.write(&Item{Path: "link", Type: itemSymlink, Mode: 0o777, Target: "000001.sst"}, nil)
	})
	var border []int64
	for _, end := range ends {
		border = append(border, end-5, end-1, end, end+1, end+4, end-1000)
	}
	for _, tc := range []struct {
		folder, name string
		places       []int64 // none: all
	}{{small, dataFile, nil}, {small, manifestFile, nil}, {small, infoFile, nil}, {large, dataFile, border}} {
		file := filepath.Join(tc.folder, tc.name)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if tc.places == nil {
			for at := range text {
				tc.places = append(tc.places, int64(at))
			}
		}
		for _, at := range tc.places {
			for bit := range 8 {
				if bit != int(at)%8 && !long() {
					continue
				}
				flipped := bytes.Clone(text)
				flipped[at] ^= 1 << bit
				if err := os.WriteFile(file, flipped, 0o600); err != nil {
					t.Fatal(err)
				}
				checkFlipped(t, tc.folder, tc.name, text, at)
			}
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := newRepo(t).Verify(ctx, tc.folder, nil); err != nil {
			t.Fatalf("all bytes back in place: %v", err)
		}
	}
	text, err := os.ReadFile(filepath.Join(large, dataFile))
	if err != nil {
		t.Fatal(err)
	}
	text[ends[0]+1000] ^= 4
	if err := os.WriteFile(filepath.Join(large, dataFile), text, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, large, "000001.sst")
}

// checkFlipped wants a file with one byte that is not text's noticed. Of info.json
// some are of no account: space, and what a verification writes anew.
func checkFlipped(t *testing.T, folder, name string, text []byte, at int64) {
	t.Helper()
	r := NewRepo(RepoConfig{Dir: filepath.Dir(folder) + "-repo"})
	err := r.Verify(ctx, folder, nil)
	if name != infoFile {
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s, byte %d: have %v", name, at, err)
		}
		return
	}
	if err != nil {
		return
	}
	want, err := parseInfo(text)
	if err != nil {
		t.Fatal(err)
	}
	have := infoOf(t, folder)
	want.Verified, want.VerifiedAt = have.Verified, have.VerifiedAt
	a, _ := json.Marshal(want)
	b, _ := json.Marshal(have)
	if !bytes.Equal(a, b) {
		t.Errorf("%s, byte %d: taken", name, at)
	}
}

func TestATruncatedArchiveIsRefused(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"in a frame", "at a frame's end", "before the manifest", "before the end", "to nothing"} {
		t.Run(where, func(t *testing.T) {
			folder, ends := goodArchive(t, 1)
			info := infoOf(t, folder)
			size := map[string]int64{
				"in a frame": ends[1] - 100, "at a frame's end": ends[1], "before the manifest": ends[2], "before the end": info.Size - 1, "to nothing": 0,
			}[where]
			if err := os.Truncate(filepath.Join(folder, dataFile), size); err != nil {
				t.Fatal(err)
			}
			refused(t, folder, dataFile)
			// Even if info knew of it.
			info.Bytes -= info.Size - size
			info.Size, info.SHA256 = size, sumOf(t, filepath.Join(folder, dataFile))
			if err := writeJSON(filepath.Join(folder, infoFile), info); err != nil {
				t.Fatal(err)
			}
			refused(t, folder, "")
		})
	}
}

func sumOf(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))
}

func TestExchangedFilesAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{dataFile, manifestFile, infoFile} {
		t.Run(name, func(t *testing.T) {
			a, _ := goodArchive(t, 1)
			b, _ := goodArchive(t, 2)
			if err := os.Rename(filepath.Join(b, name), filepath.Join(a, name)); err != nil {
				t.Fatal(err)
			}
			refused(t, a, "")
		})
	}
}

func TestANewerFormatIsRefusedByName(t *testing.T) {
	t.Parallel()
	folder, _ := goodArchive(t, 1)
	file := filepath.Join(folder, infoFile)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Replace(text, []byte(`"format": 1`), []byte(`"format": 7, "id": {"all": "is new"}`), 1)
	newer = bytes.Replace(newer, []byte("v1.2.3"), []byte("v9.8.7"), 1)
	if err := os.WriteFile(file, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRepo(t)
	for what, err := range map[string]error{
		"verify": r.Verify(context.Background(), folder, nil),
		"extract": func() error {
			_, err := r.Extract(context.Background(), folder, t.TempDir(), ExtractOptions{})
			return err
		}(),
	} {
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "v9.8.7") {
			t.Errorf("%s: want the version that wrote it, have %v", what, err)
		}
	}
}

// A few kilobytes that unfold to gigabytes cost neither memory nor time.
func TestBombsAreRefused(t *testing.T) {
	t.Parallel()
	pack := func(text ...[]byte) []byte {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range text {
			if _, err := w.Write(s); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, name := range []string{"an item without end", "a front without end", "a frame that is larger"} {
		t.Run(name, func(t *testing.T) {
			folder, ends := goodArchive(t, 1)
			info := infoOf(t, folder)
			switch long := bytes.Repeat([]byte("x"), frontLimit+1<<20); name {
			case "a frame that is larger":
				data, err := os.ReadFile(filepath.Join(folder, dataFile))
				if err != nil {
					t.Fatal(err)
				}
				bomb := pack(long)
				if int64(len(bomb)) > ends[0] {
					t.Fatal("no bomb")
				}
				copy(data, bomb) // and a skippable frame up to the next
				skip := data[len(bomb):ends[0]]
				copy(skip, "\x50\x2a\x4d\x18")
				n := uint32(len(skip) - 8)
				skip[4], skip[5], skip[6], skip[7] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
				if err := os.WriteFile(filepath.Join(folder, dataFile), data, 0o600); err != nil {
					t.Fatal(err)
				}
				info.SHA256 = sumOf(t, filepath.Join(folder, dataFile))
			case "an item without end":
				var m Manifest
				m.Format, m.ID, m.FrameSize = 1, info.ID, frameSize
				open, _, err := m.enclose()
				if err != nil {
					t.Fatal(err)
				}
				bomb := pack(open, []byte(`{"path":"`), long)
				writeManifest(t, folder, &info, bomb)
			case "a front without end":
				writeManifest(t, folder, &info, pack([]byte(`{"format":1,"program":"`), long))
			}
			if err := writeJSON(filepath.Join(folder, infoFile), info); err != nil {
				t.Fatal(err)
			}
			refused(t, folder, "")
		})
	}
}

func writeManifest(t testing.TB, folder string, info *Info, packed []byte) {
	t.Helper()
	file := filepath.Join(folder, manifestFile)
	if err := os.WriteFile(file, packed, 0o600); err != nil {
		t.Fatal(err)
	}
	info.Manifest = sumOf(t, file)
	info.Bytes = info.Size + int64(len(packed))
}

func FuzzInfo(f *testing.F) {
	f.Add([]byte(`{"format":1,"id":"20261123T043012Z-000042-full"}`))
	f.Add([]byte(`{"format":2,"program":"v9"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		info, err := parseInfo(text)
		if err == nil {
			if _, _, _, ok := ParseID(info.ID); !ok {
				t.Errorf("%q is taken for an id", info.ID)
			}
		} else if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
			t.Errorf("an error without a name: %v", err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	m := Manifest{Format: 1, ID: "20261123T043012Z-000042-full", FrameSize: frameSize, Count: 2}
	open, closing, err := m.enclose()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(append(open, `{"path":".","type":"dir","mode":"0755","mtime_ns":1},
{"path":"a%FF","type":"file","mode":"0644","size":3,"xxh3":"00","at":1024}`...), closing...))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := readManifest(bytes.NewReader(text))
		last := ""
		for err == nil {
			var it Item
			if it, err = m.next(); err != nil {
				break
			}
			at := string(it.Path)
			if strings.HasPrefix(at, "/") || !filepath.IsLocal(at) || last != "" && !follows(last, at) {
				t.Errorf("%q is taken for a path, after %q", at, last)
			}
			if it.Type == itemSymlink && !filepath.IsLocal(filepath.Join(filepath.Dir(at), string(it.Target))) {
				t.Errorf("%q leads out, to %q", at, it.Target)
			}
			last = at
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
			t.Errorf("an error without a name: %v", err)
		}
	})
}

// FuzzStream puts other bytes into the tar stream: none but the right ones pass.
func FuzzStream(f *testing.F) {
	var good []byte
	folder := forge(f, func(p *packer) error {
		if err := p.write(folderItem("."), nil); err != nil {
			return err
		}
		p.write1(f, "a", "content")
		if err := p.write(&Item{Path: "l", Type: itemSymlink, Mode: 0o777, Target: "a"}, nil); err != nil {
			return err
		}
		good = bytes.Clone(p.w.fill.raw)
		return nil
	})
	f.Add(good, uint16(0))
	f.Add([]byte("../x"), uint16(0))
	f.Add([]byte{0}, uint16(1000))
	f.Fuzz(func(t *testing.T, patch []byte, at uint16) {
		stream := bytes.Clone(good)
		if int(at) < len(stream) {
			copy(stream[at:], patch)
		}
		a, err := openArchive(folder, infoOf(t, folder))
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		order := make(chan *frame)
		close(order)
		c := comparison{m: a.list, seen: func(int64) {}, hash: xxh3.New(), linkable: map[uint64]bool{}, r: &frameReader{rest: stream, order: order, ctx: context.Background()}}
		for err == nil {
			var it Item
			if it, err = a.list.next(); err == nil {
				err = c.item(&it)
			}
		}
		i := bytes.Index(good, []byte("content"))
		if errors.Is(err, io.EOF) && !bytes.Equal(stream[i:i+tarBlock], good[i:i+tarBlock]) {
			t.Error("other content is taken")
		}
		if bytes.Equal(stream, good) && !errors.Is(err, io.EOF) {
			t.Errorf("the right stream is refused: %v", err)
		}
	})
}
