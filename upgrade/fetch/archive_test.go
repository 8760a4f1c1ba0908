package fetch

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// entry is one of an archive to be made; a tar type of 0 is a file.
type entry struct {
	name string
	body []byte
	typ  byte
}

func makeTar(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o600, Size: int64(len(e.body)), Typeflag: e.typ}
		switch e.typ {
		case 0:
			h.Typeflag = tar.TypeReg
		case tar.TypeSymlink, tar.TypeLink:
			h.Linkname = "/bin/sh"
		case tar.TypeXGlobalHeader:
			h = &tar.Header{Typeflag: e.typ, PAXRecords: map[string]string{"comment": "a commit"}}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zst(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

func makeZip(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		switch e.typ {
		case tar.TypeDir:
			h.SetMode(fs.ModeDir | 0o755)
		case tar.TypeSymlink:
			h.SetMode(fs.ModeSymlink | 0o777)
		case tar.TypeChar:
			h.SetMode(fs.ModeDevice | fs.ModeCharDevice | 0o666)
		case tar.TypeFifo:
			h.SetMode(fs.ModeNamedPipe | 0o666)
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// packers make an archive of each kind of the same entries.
var packers = map[kind]func(t testing.TB, entries ...entry) []byte{
	tarred: makeTar,
	tarGz:  func(t testing.TB, e ...entry) []byte { return gz(t, makeTar(t, e...)) },
	tarZst: func(t testing.TB, e ...entry) []byte { return zst(t, makeTar(t, e...)) },
	zipped: makeZip,
}

func TestArchivesGiveTheBinary(t *testing.T) {
	t.Parallel()
	content := program(200_000)
	for k, pack := range packers {
		for _, name := range []string{"wemixd", "bin/wemixd", "./bin/wemixd"} {
			t.Run(string(k)+" "+name, func(t *testing.T) {
				t.Parallel()
				entries := []entry{
					{name: "bin/", typ: tar.TypeDir},
					{name: "README", body: []byte("hello")},
					{name: name, body: content},
					{name: "doc/wemixd", body: []byte("another")},
				}
				if k != zipped {
					entries = append([]entry{{typ: tar.TypeXGlobalHeader}}, entries...)
				}
				archive := pack(t, entries...)
				s := serve(t, archive, cut(archive, 1000))
				v := newVolume(t)
				r, err := v.get(Source{URL: s.URL + "/node.exe", Checksum: "sha256:" + sum(archive)})
				if err != nil {
					t.Fatal(err)
				}
				v.holds(t, content)
				if r.SHA256 != sum(content) || r.Bytes != int64(len(content)) || r.Archive != string(k) || r.Download != int64(len(archive)) {
					t.Errorf("%+v", r)
				}
			})
		}
	}
}

func TestHostileArchivesLeaveNothing(t *testing.T) {
	t.Parallel()
	good := entry{name: "wemixd", body: program(1000)}
	many := make([]entry, maxEntries+1)
	for i := range many {
		many[i].name = fmt.Sprint(i)
	}
	type test struct {
		name    string
		entries []entry
		want    error
		says    string
	}
	tests := []test{
		{"no binary", []entry{{name: "wemixd-linux/wemixd", body: good.body}}, ErrArchive, "neither bin/wemixd nor wemixd"},
		{"empty", nil, ErrArchive, ""},
		{"traversal", []entry{good, {name: "../wemixd", body: good.body}}, ErrArchive, "leaves"},
		{"traversal inside", []entry{good, {name: "a/../wemixd2", body: good.body}}, ErrArchive, "leaves"},
		{"traversal of Windows", []entry{good, {name: `..\x`, body: good.body}}, ErrArchive, "leaves"},
		{"absolute", []entry{good, {name: "/wemixd", body: good.body}}, ErrArchive, "leaves"},
		{"symbolic link", []entry{good, {name: "x", typ: tar.TypeSymlink}}, ErrArchive, "link"},
		{"binary is a link", []entry{{name: "wemixd", typ: tar.TypeSymlink}}, ErrArchive, "link"},
		{"device", []entry{good, {name: "x", typ: tar.TypeChar}}, ErrArchive, "device"},
		{"pipe", []entry{good, {name: "x", typ: tar.TypeFifo}}, ErrArchive, "pipe"},
		{"twice", []entry{good, good}, ErrArchive, "twice"},
		{"twice by another name", []entry{good, {name: "./wemixd"}}, ErrArchive, "twice"},
		{"both places", []entry{good, {name: "bin/wemixd", body: good.body}}, ErrArchive, "both"},
		{"too many", append(many, good), ErrArchive, "more than"},
		{"long name", []entry{good, {name: strings.Repeat("a", maxName+1)}}, ErrArchive, "name"},
		{"bomb", []entry{{name: "wemixd", body: make([]byte, 20<<20)}}, ErrTooLarge, "larger"},
		{"empty binary", []entry{{name: "wemixd"}}, ErrContent, "empty"},
		{"page", []entry{{name: "wemixd", body: []byte("<html>")}}, ErrContent, "HTML"},
	}
	for k, pack := range packers {
		tests := tests
		if k != zipped {
			tests = append([]test{{"hard link", []entry{good, {name: "x", typ: tar.TypeLink}}, ErrArchive, "link"}}, tests...)
		}
		for _, tc := range tests {
			if k == tarred && len(tc.entries) == 0 {
				continue // 1024 zeros: there is nothing that would make it a tar
			}
			t.Run(string(k)+" "+tc.name, func(t *testing.T) {
				t.Parallel()
				archive := pack(t, tc.entries...)
				s := serve(t, archive, nil)
				v := newVolume(t)
				v.cfg.MaxBytes = 40 << 20
				if k == tarred || tc.name != "bomb" {
					v.cfg.MaxBytes = 8 << 20
				}
				_, err := v.get(Source{URL: s.URL, Checksum: "sha256:" + sum(archive)})
				v.untouched(t, err, tc.want)
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("want %q in %v", tc.says, err)
				}
			})
		}
	}
}

// unpackAll unpacks from and to memory.
func unpackAll(archive []byte, limit int64) ([]byte, error) {
	var out bytes.Buffer
	u := &unpacking{name: "wemixd", limit: limit, to: &out, begin: func(int64) error { return nil }}
	err := u.unpack(context.Background(), kindOf(archive[:min(len(archive), headSize)]), bytes.NewReader(archive), int64(len(archive)))
	return out.Bytes(), err
}

func TestTruncatedArchivesAreSeen(t *testing.T) {
	t.Parallel()
	content := program(600)
	entries := []entry{{name: "wemixd", body: content}, {name: "README", body: []byte("hello")}}
	for k, pack := range packers {
		archive := pack(t, entries...)
		if have, err := unpackAll(archive, 1<<20); err != nil || !bytes.Equal(content, have) {
			t.Fatalf("%s: want it unpacked, have %v", k, err)
		}
		whole := len(archive)
		if k == tarred {
			whole -= 2*blockSize - 1 // one block of zeros is an end, too
		}
		for n := 1; n < whole; n++ {
			if k == tarred && n < 300 {
				continue // not known for one
			}
			if _, err := unpackAll(archive[:n], 1<<20); !errors.Is(err, ErrArchive) {
				t.Fatalf("%s: want %d of %d bytes refused, have %v", k, n, len(archive), err)
			}
		}
	}
}

func TestZstdCutBetweenFramesIsSeen(t *testing.T) {
	t.Parallel()
	whole := makeTar(t, entry{name: "wemixd", body: program(600)}, entry{name: "README", body: []byte("hello")})
	const border = 512 + 1024 // between the entries
	first := zst(t, whole[:border])
	if _, err := unpackAll(append(first, zst(t, whole[border:])...), 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := unpackAll(first, 1<<20); !errors.Is(err, ErrArchive) || !strings.Contains(err.Error(), "cut off") {
		t.Fatalf("want it cut off, have %v", err)
	}
}

func TestSpoiledBytesAreSeen(t *testing.T) {
	t.Parallel()
	content := program(600)
	for k, pack := range packers {
		if k == tarred {
			continue // has no checksum over its content
		}
		archive := pack(t, entry{name: "wemixd", body: content}, entry{name: "README", body: []byte("hello")})
		for i := range archive {
			spoiled := bytes.Clone(archive)
			spoiled[i] ^= 0x10
			if have, err := unpackAll(spoiled, 1<<20); err == nil && !bytes.Equal(content, have) {
				t.Fatalf("%s: want byte %d seen as spoiled, have a wrong binary", k, i)
			}
		}
	}
}

func TestZipWithLyingSizes(t *testing.T) {
	t.Parallel()
	archive := makeZip(t, entry{name: "wemixd", body: make([]byte, 100_000)})
	dir := bytes.LastIndex(archive, []byte("PK\x01\x02"))
	for _, size := range []uint32{0, 1, 99_999, 100_001, 1<<32 - 2} {
		lie := bytes.Clone(archive)
		binary.LittleEndian.PutUint32(lie[dir+24:], size)
		have, err := unpackAll(lie, 1<<20)
		if err == nil {
			t.Errorf("want a size of %d refused, have %d bytes", size, len(have))
		}
		if len(have) > 100_000 {
			t.Errorf("want no more than there is, have %d bytes for %d", len(have), size)
		}
	}
	end := bytes.LastIndex(archive, []byte("PK\x05\x06"))
	for _, count := range []uint16{0, 2, 1<<16 - 1} {
		lie := bytes.Clone(archive)
		binary.LittleEndian.PutUint16(lie[end+8:], count)
		binary.LittleEndian.PutUint16(lie[end+10:], count)
		if _, err := unpackAll(lie, 1<<20); !errors.Is(err, ErrArchive) {
			t.Errorf("want %d entries refused, have %v", count, err)
		}
	}
	lie := bytes.Clone(archive)
	lie[dir+8] |= 1
	if _, err := unpackAll(lie, 1<<20); err == nil || !strings.Contains(err.Error(), "encrypted") {
		t.Errorf("want it encrypted, have %v", err)
	}
}

func TestZipDirectoryWithoutEnd(t *testing.T) {
	t.Parallel()
	one := makeZip(t, entry{name: "x"})
	dir, end := bytes.LastIndex(one, []byte("PK\x01\x02")), bytes.LastIndex(one, []byte("PK\x05\x06"))
	archive := bytes.Clone(one[:dir])
	for len(archive) < maxDirectory+1<<20 {
		archive = append(archive, one[dir:end]...)
	}
	size := len(archive) - dir
	tail := bytes.Clone(one[end:])
	binary.LittleEndian.PutUint32(tail[12:], uint32(size))
	if _, err := unpackAll(append(archive, tail...), 1<<20); err == nil || !strings.Contains(err.Error(), "directory is too long") {
		t.Errorf("want the directory refused, have %v", err)
	}
}

func TestSparseAndHugeTars(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "wemixd", Size: 1 << 40, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(program(4096)); err != nil {
		t.Fatal(err)
	}
	if have, err := unpackAll(b.Bytes(), 1<<20); !errors.Is(err, ErrTooLarge) || len(have) > 0 {
		t.Errorf("want a terabyte refused before a byte of it, have %d bytes, %v", len(have), err)
	}
	// The same behind one that nobody wants: zeros cost nothing to send.
	bomb := gz(t, makeTar(t, entry{name: "wemixd", body: program(100)}, entry{name: "zeros", body: make([]byte, 20<<20)}))
	if _, err := unpackAll(bomb, 1<<30); !errors.Is(err, ErrTooLarge) {
		t.Errorf("want a bomb refused, have %v", err)
	}
	// 512 MiB of window for one frame.
	frame := append([]byte("\x28\xb5\x2f\xfd\x00"), (29-10)<<3)
	if _, err := unpackAll(append(frame, make([]byte, 100)...), 1<<30); !errors.Is(err, ErrArchive) {
		t.Errorf("want the window refused, have %v", err)
	}
}

func TestUnpackingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for k, pack := range packers {
		archive := pack(t, entry{name: "wemixd", body: program(100)})
		u := &unpacking{name: "wemixd", limit: 1 << 20, to: io.Discard, begin: func(int64) error { return nil }}
		err := u.unpack(ctx, k, bytes.NewReader(archive), int64(len(archive)))
		if !errors.Is(err, context.Canceled) || errors.Is(err, ErrArchive) {
			t.Errorf("%s: want context.Canceled, have %v", k, err)
		}
	}
}

func FuzzArchive(f *testing.F) {
	for _, pack := range packers {
		f.Add(pack(f, entry{name: "bin/", typ: tar.TypeDir}, entry{name: "bin/wemixd", body: program(600)}))
		f.Add(pack(f, entry{name: "wemixd", typ: tar.TypeSymlink}))
		f.Add(pack(f, entry{name: "../x", body: []byte("x")}, entry{name: "wemixd", body: make([]byte, 4000)}))
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		const limit = 1 << 20
		have, err := unpackAll(archive, limit)
		if len(have) > limit {
			t.Errorf("want at most %d bytes, have %d", limit, len(have))
		}
		if err != nil && !errors.Is(err, ErrArchive) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("want ErrArchive or ErrTooLarge, have %v", err)
		}
	})
}
