package supervisor

import (
	"bytes"
	"strings"
	"testing"
)

func TestTailLines(t *testing.T) {
	for _, tc := range []struct {
		text string
		n    int
		want string
	}{
		{"", 3, ""},
		{"a", 1, "a"},
		{"a\nb", 1, "b"},
		{"a\nb\n", 1, "b\n"},
		{"a\nb\n", 2, "a\nb\n"},
		{"a\nb\n", 9, "a\nb\n"},
		{"a\nb\n", 0, ""},
		{"a\nb\n", -1, ""},
		{"a\n\n\n", 2, "\n\n"},
	} {
		tail := newTail()
		_, _ = tail.Write([]byte(tc.text))
		if have, next := tail.Lines(tc.n); string(have) != tc.want || next != int64(len(tc.text)) {
			t.Errorf("%q, %d: want %q, have %q, %d", tc.text, tc.n, tc.want, have, next)
		}
	}
}

func TestTailWord(t *testing.T) {
	for _, tc := range []struct {
		text   string
		offset int64
		want   string
	}{
		{"", 0, ""},
		{"\n \n\t\n", 0, ""},
		{"first\nlast\n\n \r\n", 0, "last"},
		{"no newline", 0, "no newline"},
		{"\x1b[31mred\x1b[0m\x00", 0, "[31mred [0m"},
		{"\xff\xfe", 0, "?"},
		{"old\nnew\n", 4, "new"},
		{"old\n", 4, ""},
		{strings.Repeat("ä", 400), 0, strings.Repeat("ä", 300) + "…"},
	} {
		tail := newTail()
		_, _ = tail.Write([]byte(tc.text))
		if have := tail.Word(tc.offset); have != tc.want {
			t.Errorf("%q from %d: want %q, have %q", tc.text, tc.offset, tc.want, have)
		}
	}
}

func TestTailTellsOfMore(t *testing.T) {
	tail := newTail()
	_, next, changed := tail.From(0)
	select {
	case <-changed:
		t.Fatal("nothing was written")
	default:
	}
	_, _ = tail.Write([]byte("x"))
	<-changed
	if have, next, _ := tail.From(next); string(have) != "x" || next != 1 {
		t.Errorf("have %q, %d", have, next)
	}
}

// FuzzTail compares with the naive tail, which keeps everything. Each byte of
// sizes is one write; large ones pass the limit.
func FuzzTail(f *testing.F) {
	f.Add([]byte{1, 2, 3}, int64(2), 2)
	f.Add([]byte{255, 255, 255, 1}, int64(70000), 5)
	f.Add([]byte{200, 0, 131, 255, 128}, int64(-5), 1000)
	f.Add([]byte{128, 128, 128, 128, 128, 7}, int64(1<<62), 3)
	f.Fuzz(func(t *testing.T, sizes []byte, offset int64, n int) {
		tail := newTail()
		var all []byte
		for i, size := range sizes[:min(len(sizes), 32)] {
			length := int(size)
			if size >= 128 { // around and beyond what is kept
				length = (int(size) - 127) * 1031
			}
			p := bytes.Repeat([]byte{byte('a' + i)}, length)
			for j := i; j < length; j += 1 + int(size) {
				p[j] = '\n'
			}
			all = append(all, p...)
			if m, err := tail.Write(p); m != length || err != nil {
				t.Fatal(m, err)
			}
		}
		end := int64(len(all))
		kept := all[max(0, len(all)-tailSize):]

		from := min(max(offset, end-int64(len(kept))), end)
		if have, next, _ := tail.From(offset); !bytes.Equal(have, all[from:]) || next != end {
			t.Fatalf("From(%d) of %d: want %d bytes, have %d, %d", offset, end, end-from, len(have), next)
		}
		lines := bytes.SplitAfter(kept, []byte("\n"))
		if last := len(lines) - 1; len(lines[last]) == 0 {
			lines = lines[:last]
		}
		want := bytes.Join(lines[max(0, len(lines)-max(0, n)):], nil)
		if have, next := tail.Lines(n); !bytes.Equal(have, want) || next != end {
			t.Fatalf("Lines(%d) of %d: want %d bytes, have %d, %d", n, end, len(want), len(have), next)
		}
	})
}
