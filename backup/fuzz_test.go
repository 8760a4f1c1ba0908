package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"
)

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
