package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The files of an archive.
const (
	dataFile     = "data.tar.zst"
	manifestFile = "manifest.json.zst"
	infoFile     = "info.json"
)

// archiveFormat is the version of what is written here. A change that this
// program could not read needs the next one.
const archiveFormat = 1

// ErrFormat says that an archive was written by a newer program.
var ErrFormat = errors.New("unknown format")

// Info is the small part of an archive: what a list of them shows. That it lies
// beside the data means that the archive is complete.
type Info struct {
	Format     int        `json:"format"`
	Program    string     `json:"program"` // version of wemixvisor that wrote it
	ID         string     `json:"id"`
	Created    time.Time  `json:"created"`
	Kind       string     `json:"kind"`              // [KindFull]
	Reason     string     `json:"reason,omitempty"`  // why it was made, a word for people
	Upgrade    string     `json:"upgrade,omitempty"` // the upgrade before which it was made
	Parent     string     `json:"parent,omitempty"`
	Bytes      int64      `json:"bytes"`      // of the three files, without this one
	DataBytes  int64      `json:"data_bytes"` // of the files in it
	Files      int64      `json:"files"`
	Verified   bool       `json:"verified"` // read back and found whole, last at VerifiedAt
	VerifiedAt time.Time  `json:"verified_at"`
	SHA256     string     `json:"sha256"` // of data.tar.zst, hex
	Size       int64      `json:"size"`   // likewise
	Manifest   string     `json:"manifest_sha256"`
	Origin     Origin     `json:"origin"`
	Secrets    bool       `json:"secrets"`           // the node's identity is in it
	Partial    bool       `json:"partial,omitempty"` // without what is excluded with loss
	Excluded   []Excluded `json:"excluded"`
	Damage     string     `json:"damage,omitempty"` // what a glance at the files shows to be wrong; not stored
}

// infoLimit bounds what is read of an info.json.
const infoLimit = 4 << 20

// readInfo reads the info.json of folder. It returns [ErrNotFound] where there
// is none, [ErrFormat] if a newer program wrote it.
func readInfo(folder string) (Info, error) {
	f, err := openWhole(folder, infoFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return Info{}, fmt.Errorf("%w: %s has no %s", ErrNotFound, folder, infoFile)
	}
	if err != nil {
		return Info{}, fmt.Errorf("read info: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, infoLimit+1))
	if err != nil {
		return Info{}, fmt.Errorf("read info: %w", err)
	}
	info, err := parseInfo(text)
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return info, nil
}

func parseInfo(text []byte) (Info, error) {
	if len(text) > infoLimit {
		return Info{}, fmt.Errorf("%w: longer than %d bytes", ErrCorrupt, infoLimit)
	}
	if err := checkFormat(text); err != nil {
		return Info{}, err
	}
	var info Info
	if err := json.Unmarshal(text, &info); err != nil {
		return Info{}, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if _, _, _, ok := ParseID(info.ID); !ok {
		return Info{}, fmt.Errorf("%w: %q is no id", ErrCorrupt, info.ID)
	}
	if info.Bytes < 0 || info.DataBytes < 0 || info.Files < 0 || info.Size < 0 {
		return Info{}, fmt.Errorf("%w: negative size", ErrCorrupt)
	}
	info.Damage = ""
	return info, nil
}

// checkFormat reads of info or manifest only what every version has.
func checkFormat(text []byte) error {
	var head struct {
		Format  int
		Program string
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if head.Format > archiveFormat {
		return fmt.Errorf("%w %d, written by wemixvisor %s; this one reads up to %d", ErrFormat, head.Format, head.Program, archiveFormat)
	}
	if head.Format < 1 {
		return fmt.Errorf("%w: format %d", ErrCorrupt, head.Format)
	}
	return nil
}

// glance compares what lies in folder with what info says of it, without reading
// it: a copy that was cut short shows at once.
func (info *Info) glance(folder string) {
	var sizes int64
	for _, name := range []string{dataFile, manifestFile} {
		fi, err := os.Lstat(filepath.Join(folder, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			info.Damage = name + " is missing"
		case err != nil:
			info.Damage = err.Error()
		case !fi.Mode().IsRegular():
			info.Damage = name + " is not a file"
		case name == dataFile && fi.Size() != info.Size:
			info.Damage = fmt.Sprintf("%s has %d bytes of %d", name, fi.Size(), info.Size)
		default:
			sizes += fi.Size()
			continue
		}
		break
	}
	if info.Damage == "" && sizes != info.Bytes {
		info.Damage = fmt.Sprintf("it has %d bytes of %d", sizes, info.Bytes)
	}
	if info.Damage != "" {
		info.Verified = false
	}
}
