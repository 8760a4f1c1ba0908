package backup

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Class says how the node treats a file, and so how a snapshot may.
type Class uint8

// The classes. What no pattern names is Mutable, the one that takes nothing for
// granted.
const (
	// Mutable files may change in any way, even with size, mtime and ctime as
	// they were (a mapped page is written back whenever the kernel likes, a log
	// is recycled in place): copied anew each time.
	Mutable Class = iota

	// Immutable files are written once: the tables of Pebble, LevelDB, RocksDB, and
	// the era files of geth's ancient/chain/era, which it fetches under another name.
	Immutable

	// Sealed are the data files of a freezer table below the newest.
	Sealed

	// Append are the newest data file of a freezer table and its indexes: they
	// grow at the end, but are also cut, so a second name for one is not safe.
	Append

	// Keep is the node's identity, and what tells us to upgrade: it never goes
	// back in time, and leaves the machine only by explicit wish.
	Keep

	// Skip is of no use to anybody else: locks, sockets.
	Skip
)

func (c Class) String() string {
	return [...]string{"mutable", "immutable", "sealed", "append", "keep", "skip"}[c]
}

// classify tells the classes of one folder's entries: which file of a freezer
// table is the newest, only its neighbours tell. Folders are Mutable or Keep.
func classify(folder string, entries []dirent) []Class {
	newest := map[string]uint64{}
	for _, e := range entries {
		if table, n, ok := freezerFile(e.name); ok {
			newest[table] = max(newest[table], n)
		}
	}
	classes := make([]Class, len(entries))
	for i, e := range entries {
		classes[i] = classOf(folder, e, newest)
	}
	return classes
}

func classOf(folder string, e dirent, newest map[string]uint64) Class {
	if keeps(folder, e.name) {
		return Keep
	}
	switch e.kind {
	case 0: // a regular file
	case fs.ModeSocket, fs.ModeNamedPipe, fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice, fs.ModeIrregular:
		return Skip
	case fs.ModeDir:
		if folder == "." && e.name == "lost+found" { // fsck's, in the root of a volume
			return Skip
		}
		return Mutable
	default:
		return Mutable
	}
	if table, n, ok := freezerFile(e.name); ok {
		if n < newest[table] {
			return Sealed
		}
		return Append
	}
	switch ext := path.Ext(e.name); {
	case e.name == "LOCK" || e.name == "FLOCK" || ext == ".ipc":
		return Skip
	case ext == ".sst" || ext == ".ldb" || ext == ".era1" || ext == ".ere":
		return Immutable
	case ext == ".cidx" || ext == ".ridx":
		return Append
	}
	return Mutable
}

// keeps reports whether an entry of a folder, whose path is relative to the tree's
// root, is of those that never go back: with all that is in it, and at any depth,
// because geth/nodekey lies inside a folder that does.
func keeps(folder, name string) bool {
	switch name {
	case "nodekey", "jwtsecret", "keystore", "etcd":
		return true
	case "upgrade-info.json":
		return folder == "." || path.Dir(folder) == "upgrades"
	}
	return false
}

// freezerFile takes apart the name of a freezer's data file: headers.0001.cdat.
func freezerFile(name string) (table string, n uint64, ok bool) {
	ext := path.Ext(name)
	if ext != ".cdat" && ext != ".rdat" {
		return "", 0, false
	}
	stem := strings.TrimSuffix(name, ext)
	number := strings.TrimPrefix(path.Ext(stem), ".")
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || len(number) < 4 {
		return "", 0, false
	}
	return strings.TrimSuffix(stem, number) + ext, n, true
}
