package backup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// manifestMember is the manifest's name in the tar stream, as its last member: an
// archive that lost its other files can still be understood. It is not restored.
const manifestMember = ".wemixvisor-manifest.json"

// Manifest is what stands before the list of items.
//
// In JSON it is one object, its last field "items": a list in the order of the
// tar stream, so that both are read side by side and nobody holds either whole.
type Manifest struct {
	Format       int        `json:"format"`
	Program      string     `json:"program"`
	ID           string     `json:"id"`
	Created      time.Time  `json:"created"`
	Kind         string     `json:"kind"`
	Reason       string     `json:"reason,omitempty"`
	Upgrade      string     `json:"upgrade,omitempty"`
	Parent       string     `json:"parent,omitempty"`
	ParentSHA256 string     `json:"parent_sha256,omitempty"`
	Origin       Origin     `json:"origin"`
	Secrets      bool       `json:"secrets"`
	Partial      bool       `json:"partial,omitempty"`
	Excluded     []Excluded `json:"excluded"`

	Count     int64   `json:"count"`       // of items
	Files     int64   `json:"files"`       // of regular files, hard links counted once
	DataBytes int64   `json:"data_bytes"`  // of their content
	DiskBytes int64   `json:"disk_bytes"`  // likewise, without holes
	TarBytes  int64   `json:"tar_bytes"`   // of the stream before the manifest's own member
	FrameSize int     `json:"frame_bytes"` // of the stream in each frame but the last
	Frames    []int32 `json:"frames"`      // what each takes in data.tar.zst, from its beginning on
}

// info returns what an archive's info repeats of its manifest.
func (m *Manifest) info() Info {
	return Info{
		Format: m.Format, Program: m.Program, ID: m.ID, Created: m.Created, Kind: m.Kind, Reason: m.Reason, Upgrade: m.Upgrade,
		Parent: m.Parent, Origin: m.Origin, Secrets: m.Secrets, Partial: m.Partial, Excluded: m.Excluded,
		DataBytes: m.DataBytes, Files: m.Files,
	}
}

// enclose returns the manifest's JSON up to its items, closing the rest.
func (m *Manifest) enclose() (open, closing []byte, err error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, nil, err
	}
	return append(text[:len(text)-1], ",\"items\":[\n"...), []byte("\n]}\n"), nil
}

// The most that a manifest's one item, and all before the items, may take: names
// have up to 4096 bytes, each perhaps escaped, and 16 TiB have 4 million frames.
const (
	itemLimit  = 64 << 10
	frontLimit = 32 << 20
)

// manifestReader reads a manifest as a stream.
type manifestReader struct {
	Manifest
	dec  *json.Decoder
	last string // path of the item before
	read int64  // items
	lim  *rationed
}

// readManifest reads up to the first item.
func readManifest(r io.Reader) (*manifestReader, error) {
	m := &manifestReader{lim: &rationed{r: r, left: frontLimit}}
	m.dec = json.NewDecoder(m.lim)
	if err := m.front(); err != nil {
		return nil, m.broken(err)
	}
	return m, nil
}

func (m *manifestReader) broken(err error) error {
	return fmt.Errorf("%s: %w", manifestFile, corrupt(err))
}

func (m *manifestReader) front() error {
	if t, err := m.dec.Token(); err != nil {
		return err
	} else if t != json.Delim('{') {
		return errors.New("not an object")
	}
	var text bytes.Buffer
	text.WriteByte('{')
	for m.dec.More() {
		key, err := m.dec.Token()
		if err != nil {
			return err
		}
		if key == "items" {
			t, err := m.dec.Token()
			if err != nil {
				return err
			}
			if t != json.Delim('[') {
				return errors.New("items are not a list")
			}
			text.WriteByte('}')
			if err := checkFormat(text.Bytes()); err != nil {
				return err
			}
			if err := json.Unmarshal(text.Bytes(), &m.Manifest); err != nil {
				return err
			}
			return m.check()
		}
		var value json.RawMessage
		if err := m.dec.Decode(&value); err != nil {
			return err
		}
		if text.Len() > 1 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, "%q:%s", key, value)
	}
	return errors.New("no items")
}

// check compares the manifest's own figures.
func (m *Manifest) check() error {
	switch _, _, _, ok := ParseID(m.ID); {
	case !ok:
		return fmt.Errorf("%q is no id", m.ID)
	case m.FrameSize != frameSize:
		return fmt.Errorf("frames of %d bytes", m.FrameSize)
	case m.Count < 0 || m.Files < 0 || m.DataBytes < 0 || m.DiskBytes < 0 || m.TarBytes < 0:
		return errors.New("negative size")
	case int64(len(m.Frames)) != (m.TarBytes+frameSize-1)/frameSize:
		return fmt.Errorf("%d frames cannot hold %d bytes", len(m.Frames), m.TarBytes)
	}
	for i, n := range m.Frames {
		if n <= 0 || n > frameSize+frameSize/8 {
			return fmt.Errorf("frame %d has %d bytes", i, n)
		}
	}
	return nil
}

// next returns the next item, checked, or io.EOF after the last.
func (m *manifestReader) next() (Item, error) {
	it, err := m.item()
	if err != nil && err != io.EOF { //nolint:errorlint // item returns it bare
		return Item{}, m.broken(err)
	}
	return it, err
}

func (m *manifestReader) item() (it Item, err error) {
	m.lim.left = itemLimit
	if !m.dec.More() {
		for range 2 { // the list's end and the object's
			if _, err := m.dec.Token(); err != nil {
				return it, err
			}
		}
		if _, err := m.dec.Token(); err != io.EOF { //nolint:errorlint // the decoder's own
			return it, errors.New("something follows its end")
		}
		if m.read != m.Count {
			return it, fmt.Errorf("%d items of %d", m.read, m.Count)
		}
		return it, io.EOF
	}
	if err := m.dec.Decode(&it); err != nil {
		return it, fmt.Errorf("item after %q: %w", m.last, err)
	}
	if err := it.check(m.last); err != nil {
		return it, fmt.Errorf("%q: %w", it.Path, err)
	}
	m.last, m.read = string(it.Path), m.read+1
	return it, nil
}

// rationed is a reader that gives no more than what is left: whoever reads on
// behalf of one thing cannot be made to read without end.
type rationed struct {
	r    io.Reader
	left int
}

func (r *rationed) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, fmt.Errorf("%w: an entry without end", ErrCorrupt)
	}
	n, err := r.r.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}
