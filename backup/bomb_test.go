package backup

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

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
