package backup

import (
	"bytes"
	"strings"
	"testing"
)

func FuzzPlainHeader(f *testing.F) {
	f.Add("geth/chaindata/000001.sst", false, int64(2<<20), int64(1763999999123456789), 0o644, 1000, 100)
	f.Add("geth/chaindata", true, int64(0), int64(1763999999120000000), 0o755, 0, 0)
	f.Add("a", true, int64(0), int64(1), 0o1777, 0, 0)
	f.Add("zero ns", false, int64(7), int64(1763999999000000000), 0o4755, 1<<21-1, 1<<21)
	f.Add("before 1970", false, int64(7), int64(-1), 0o600, 1, 1)
	f.Add(strings.Repeat("d/", 49)+"e", false, int64(1)<<33-1, int64(5e9), 0o600, 1, 1)
	f.Add(strings.Repeat("d", 99), true, int64(0), int64(5e9+1), 0o600, 1, 1)
	f.Add(strings.Repeat("d/", 43)+"eeeeeeeeeee", false, int64(1)<<33, int64(5e9+1), 0o600, 1, 1)
	f.Add("\xff\n", false, int64(1), int64(5e9+1), 0o600, 1, 1)
	f.Fuzz(func(t *testing.T, path string, folder bool, size, mtime int64, mode, uid, gid int) {
		it := Item{Path: fileName(path), Type: itemFile, Size: size, MTime: mtime, Mode: Permissions(mode & 0o7777), UID: uid, GID: gid}
		if folder {
			it.Type, it.Size = itemFolder, 0
		}
		if it.check(".") != nil {
			t.Skip()
		}
		have, ok := it.plainHeader(nil)
		want, err := it.anyHeader()
		if ok && (err != nil || !bytes.Equal(want, have)) {
			at := 0
			for at < min(len(want), len(have)) && want[at] == have[at] {
				at++
			}
			t.Errorf("%+v: want %d bytes, %v, have %d that differ from byte %d on", it, len(want), err, len(have), at)
		}
	})
}
