package backup

import (
	"strconv"
	"strings"
	"time"
)

// plainHeader appends to b what archive/tar writes for the item, byte for byte, at
// a tenth of its cost: of small files there are many, and the header is most of
// them. It reports false for what has anything odd about it, a long name or a size
// from 8 GiB on: that is archive/tar's.
func (it *Item) plainHeader(b []byte) ([]byte, bool) {
	name, flag := string(it.Path), byte('0')
	switch {
	case it.Type == itemFolder && name != ".":
		name, flag = name+"/", '5'
	case it.Type != itemFile:
		return b, false
	}
	at := time.Unix(0, it.MTime)
	if len(name) > 100 || !isASCII(name) || it.Size>>33 != 0 || it.UID>>21 != 0 || it.GID>>21 != 0 || it.Mode>>21 != 0 || at.Unix()>>33 != 0 {
		return b, false
	}
	if at.Nanosecond() != 0 {
		record := make([]byte, 0, 64)
		record = append(record, " mtime="...)
		record = strconv.AppendInt(record, at.Unix(), 10)
		record = append(record, '.')
		fraction := strconv.Itoa(1e9 + at.Nanosecond())[1:]
		record = append(append(record, strings.TrimRight(fraction, "0")...), '\n')
		record = append([]byte(strconv.Itoa(len(record)+2)), record...) // from 10 to 99 bytes
		b = tarBlockOf(b, paxName(name), 'x', int64(len(record)), nil)
		b = append(append(b, record...), zeros[:-len(record)&(tarBlock-1)]...)
	}
	return tarBlockOf(b, name, flag, it.Size, it), true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] == 0 || s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// paxName is what archive/tar calls the records of an entry.
func paxName(name string) string {
	dir, file := "", strings.TrimSuffix(name, "/")
	if name != file {
		dir, file = file+"/", ""
	} else if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, file = name[:i+1], name[i+1:]
	}
	full := strings.TrimSuffix(dir+"PaxHeaders.0/"+file, "/")
	return strings.TrimRight(full[:min(len(full), 100)], "/")
}

// tarBlockOf appends one block of POSIX.1-1988; of is nil for PAX records, which
// are nobody's.
func tarBlockOf(b []byte, name string, flag byte, size int64, of *Item) []byte {
	at := len(b)
	b = append(b, zeros[:tarBlock]...)
	h := b[at:]
	copy(h[:100], name)
	if of != nil {
		octal(h[329:336], 0)
		octal(h[337:344], 0)
	} else {
		of = &Item{}
	}
	octal(h[100:107], int64(of.Mode))
	octal(h[108:115], int64(of.UID))
	octal(h[116:123], int64(of.GID))
	octal(h[136:147], time.Unix(0, of.MTime).Unix())
	octal(h[124:135], size)
	h[156] = flag
	copy(h[257:265], "ustar\x0000")
	copy(h[148:156], "        ")
	sum := int64(0)
	for _, c := range h {
		sum += int64(c)
	}
	octal(h[148:154], sum)
	h[154] = 0
	return b
}

func octal(field []byte, n int64) {
	for i := len(field) - 1; i >= 0; i, n = i-1, n>>3 {
		field[i] = '0' + byte(n&7)
	}
}
