package backup

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cached returns how many bytes of a file are in the page cache.
func cached(t *testing.T, f *os.File, size int) (bytes int) {
	t.Helper()
	m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m) //nolint:errcheck // it was mapped
	resident := make([]byte, (size+os.Getpagesize()-1)/os.Getpagesize())
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&resident[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, r := range resident {
		bytes += int(r&1) * os.Getpagesize()
	}
	return bytes
}

// What is written past the cache is whole, whatever pieces it came in, and does not fill
// the cache; where that is refused it is whole all the same.
func TestWritingPastTheCache(t *testing.T) {
	t.Parallel()
	text := chainData(1, 3*directChunk+777)
	for name, dir := range map[string]func(*testing.T) string{"here": (*testing.T).TempDir, "no direct writes": undirect} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(dir(t), "file"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			w := newDirectWriter(f)
			direct := w.direct
			if name != "here" && direct {
				t.Error("want it refused")
			}
			for at, n := 0, 1; at < len(text); at, n = at+n, n*3+1 {
				n = min(n, len(text)-at)
				if k, err := w.Write(text[at : at+n]); k != n || err != nil {
					t.Fatalf("want %d written, have %d, %v", n, k, err)
				}
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			if have := cached(t, f, len(text)); direct && have > directChunk {
				t.Errorf("%d bytes of %d are in the cache", have, len(text))
			}
			if have, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(have, text) {
				t.Errorf("want what was written, have %d bytes, %v", len(have), err)
			}
		})
	}
}
