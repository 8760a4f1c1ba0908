package backup

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// The types of an Item.
const (
	itemFile     = "file"
	itemFolder   = "dir"
	itemSymlink  = "symlink"
	itemHardLink = "hardlink" // another name for a file that came before
)

// Item is one entry of an archive as its manifest has it.
type Item struct {
	Path   fileName    `json:"path"` // relative, with slashes; "." is the root
	Type   string      `json:"type"`
	Size   int64       `json:"size,omitempty"`
	Mode   Permissions `json:"mode"`
	MTime  int64       `json:"mtime_ns"`
	UID    int         `json:"uid"`
	GID    int         `json:"gid"`
	Inode  uint64      `json:"inode,omitempty"`  // with path, size and mtime_ns it tells whether a table changed
	Hash   string      `json:"xxh3,omitempty"`   // xxh3-128 of the content, hex
	At     int64       `json:"at,omitempty"`     // where in the tar stream the content begins
	Target fileName    `json:"target,omitempty"` // of a link, as it is; of a hard link, the path
	Linked bool        `json:"linked,omitempty"` // it has other names: hard links may follow
	Sparse bool        `json:"sparse,omitempty"` // it had holes
	Secret bool        `json:"secret,omitempty"` // identity: only here because it was asked for
}

// Permissions are the twelve bits of chmod(1), in JSON as people write them.
type Permissions uint32

// MarshalText writes octal.
func (p Permissions) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%04o", uint32(p)), nil }

// UnmarshalText reads octal.
func (p *Permissions) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 12)
	if err != nil {
		return fmt.Errorf("bad mode %q", text)
	}
	*p = Permissions(n)
	return nil
}

var special = [...]struct {
	bit Permissions
	is  fs.FileMode
}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}}

func permissionsOf(m fs.FileMode) Permissions {
	p := Permissions(m.Perm())
	for _, s := range special {
		if m&s.is != 0 {
			p |= s.bit
		}
	}
	return p
}

func (p Permissions) mode() fs.FileMode {
	m := fs.FileMode(p & 0o777)
	for _, s := range special {
		if p&s.bit != 0 {
			m |= s.is
		}
	}
	return m
}

// itemOf says how an entry of a tree stands in an archive.
func itemOf(e Entry) Item {
	it := Item{
		Path: fileName(e.Path), Mode: permissionsOf(e.Mode), MTime: e.ModTime.UnixNano(),
		UID: e.UID, GID: e.GID, Inode: e.Ino, Secret: e.Class == Keep,
	}
	switch e.Mode.Type() {
	case fs.ModeDir:
		it.Type = itemFolder
	case fs.ModeSymlink:
		it.Type, it.Target, it.Mode = itemSymlink, fileName(e.Target), 0o777
	default:
		it.Type, it.Size, it.Sparse, it.Linked = itemFile, e.Size, e.Blocks*512 < e.Size, e.Links > 1
	}
	if it.Secret && it.Type == itemFile {
		it.Mode &= 0o600
	}
	return it
}

// header returns what stands before the content in the tar stream.
func (it *Item) header() ([]byte, error) {
	if b, ok := it.plainHeader(nil); ok {
		return b, nil
	}
	return it.anyHeader()
}

func (it *Item) anyHeader() ([]byte, error) {
	h := tar.Header{
		Format: tar.FormatPAX, Name: string(it.Path), Mode: int64(it.Mode), Uid: it.UID, Gid: it.GID,
		ModTime: time.Unix(0, it.MTime), Size: it.Size, Linkname: string(it.Target),
	}
	switch it.Type {
	case itemFile:
		h.Typeflag = tar.TypeReg
	case itemFolder:
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
	case itemSymlink:
		h.Typeflag = tar.TypeSymlink
	case itemHardLink:
		h.Typeflag, h.Size = tar.TypeLink, 0
	}
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&h); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// differs says what a tar header has that is not this item's.
func (it *Item) differs(h *tar.Header) string {
	name, size := string(it.Path), it.Size
	var flag byte = tar.TypeReg
	switch it.Type {
	case itemFolder:
		flag, name = tar.TypeDir, name+"/"
	case itemSymlink:
		flag = tar.TypeSymlink
	case itemHardLink:
		flag, size = tar.TypeLink, 0
	}
	switch {
	case h.Name != name:
		return fmt.Sprintf("the archive has %q in its place", h.Name)
	case h.Typeflag != flag:
		return fmt.Sprintf("the archive has type %q", h.Typeflag)
	case h.Size != size:
		return fmt.Sprintf("the archive has %d bytes, the manifest %d", h.Size, size)
	case h.Linkname != string(it.Target):
		return fmt.Sprintf("the archive has a link to %q", h.Linkname)
	case h.Mode != int64(it.Mode), h.Uid != it.UID, h.Gid != it.GID, h.ModTime.UnixNano() != it.MTime:
		return "the archive has another mode, owner or time"
	}
	return ""
}

// follows reports whether b comes after a in an archive: a folder before what is
// in it, names in the order of their bytes.
func follows(a, b string) bool {
	if a == "." || b == "." {
		return a == "." && b != "."
	}
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] != b[i] {
			return a[i] == '/' || b[i] != '/' && a[i] < b[i]
		}
	}
	return len(a) < len(b)
}

// leadsOut reports whether a link at path that says target names something
// above the root, by its words alone.
func leadsOut(at, target string) bool {
	if path.IsAbs(target) {
		return true
	}
	to := path.Join(path.Dir(at), target)
	return to == ".." || strings.HasPrefix(to, "../")
}
