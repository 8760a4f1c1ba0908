package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

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

// What is no file is neither waited for nor read for ever, by a list neither.
func TestAnArchiveOfNoFilesIsRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{dataFile, manifestFile, infoFile} {
		for what, put := range map[string]func(string) error{
			"pipe":   func(at string) error { return unix.Mkfifo(at, 0o600) },
			"folder": func(at string) error { return os.Mkdir(at, 0o700) },
			"device": func(at string) error { return os.Symlink("/dev/zero", at) },
		} {
			t.Run(name+" is a "+what, func(t *testing.T) {
				t.Parallel()
				made, _ := goodArchive(t, 1)
				r := newRepo(t)
				folder := filepath.Join(r.cfg.Dir, infoOf(t, made).ID)
				at := filepath.Join(folder, name)
				if err := errors.Join(os.MkdirAll(r.cfg.Dir, 0o700), os.Rename(made, folder), os.Remove(at), put(at)); err != nil {
					t.Fatal(err)
				}
				refused(t, folder, "not a file")
				if infos, err := r.List(); err != nil || len(infos) != 1 || infos[0].Damage == "" {
					t.Errorf("want it listed as damaged, have %+v %v", infos, err)
				}
			})
		}
	}
}
