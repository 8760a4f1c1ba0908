package backup

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
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

func writeManifest(t testing.TB, folder string, info *Info, packed []byte) {
	t.Helper()
	file := filepath.Join(folder, manifestFile)
	if err := os.WriteFile(file, packed, 0o600); err != nil {
		t.Fatal(err)
	}
	info.Manifest = sumOf(t, file)
	info.Bytes = info.Size + int64(len(packed))
}

func sumOf(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))
}

func infoOf(t testing.TB, folder string) Info {
	t.Helper()
	info, err := readInfo(folder)
	if err != nil {
		t.Fatal(err)
	}
	return info
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
