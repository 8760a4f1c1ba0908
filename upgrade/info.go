package upgrade

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"runtime"
	"strings"
)

// Info is where a plan's binary comes from: a URL and a checksum for each
// platform, linux/amd64 and so on, or any. In JSON it is an object, or a string
// that holds one; any other string is a remark.
type Info struct {
	Binaries  map[string]string
	Checksums map[string]string
	Needs     Needs // in JSON hook

	// Raw is the info as it was written, an object in a canonical form: hooks
	// get it.
	Raw string
}

// anyPlatform is the fallback.
const anyPlatform = "any"

// IsZero reports whether nothing is said.
func (i Info) IsZero() bool {
	return i.Raw == "" && len(i.Binaries) == 0 && len(i.Checksums) == 0 && i.Needs.IsZero()
}

// UnmarshalJSON reads both forms.
func (i *Info) UnmarshalJSON(data []byte) error {
	*i = Info{}
	if data = bytes.TrimSpace(data); bytes.Equal(data, []byte("null")) {
		return nil
	}
	if data[0] == '"' {
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
		inner := strings.TrimSpace(text)
		if !strings.HasPrefix(inner, "{") {
			i.Raw = text
			return nil
		}
		data = []byte(inner)
	}
	var fields struct {
		Binaries, Checksums map[string]string
		Hook                Needs
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	i.Binaries, i.Checksums, i.Needs = fields.Binaries, fields.Checksums, fields.Hook
	var whole map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&whole); err != nil {
		return err
	}
	if len(whole) == 0 {
		return nil
	}
	raw, err := json.Marshal(whole) // in the order of keys
	i.Raw = string(raw)
	return err
}

// MarshalJSON writes what was read, or the object.
func (i Info) MarshalJSON() ([]byte, error) {
	if strings.HasPrefix(i.Raw, "{") {
		return []byte(i.Raw), nil
	}
	if i.Raw != "" {
		return json.Marshal(i.Raw)
	}
	fields := map[string]any{}
	if len(i.Binaries) > 0 {
		fields["binaries"] = i.Binaries
	}
	if len(i.Checksums) > 0 {
		fields["checksums"] = i.Checksums
	}
	if !i.Needs.IsZero() {
		fields["hook"] = i.Needs
	}
	return json.Marshal(fields)
}

// String is the info as hooks get it.
func (i Info) String() string {
	if i.Raw != "" {
		return i.Raw
	}
	if i.IsZero() {
		return ""
	}
	text, _ := i.MarshalJSON()
	return string(text)
}

func (i Info) check() error {
	for platform := range i.Binaries {
		if _, _, err := i.of(platform); err != nil {
			return fmt.Errorf("binaries, %s: %w", platform, err)
		}
	}
	for platform, sum := range i.Checksums {
		if err := validChecksum(sum); err != nil {
			return fmt.Errorf("checksums, %s: %w", platform, err)
		}
	}
	return nil
}

// Here returns where this machine's binary is and what its checksum is, each
// empty when nothing is said of it. A checksum in the URL stays there too: what
// else is in it may be signed.
func (i Info) Here() (address, checksum string) {
	for _, platform := range []string{runtime.GOOS + "/" + runtime.GOARCH, anyPlatform} {
		_, binary := i.Binaries[platform]
		_, sum := i.Checksums[platform]
		if binary || sum {
			address, checksum, _ = i.of(platform) // was checked
			return address, checksum
		}
	}
	return "", ""
}

func (i Info) of(platform string) (address, checksum string, err error) {
	checksum = i.Checksums[platform]
	address = i.Binaries[platform]
	if address == "" {
		return "", checksum, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" {
		return "", "", fmt.Errorf("no URL: %.100q", address)
	}
	query := u.Query()
	if !query.Has("checksum") {
		return address, checksum, nil
	}
	inner := query.Get("checksum")
	if err := validChecksum(inner); err != nil {
		return "", "", err
	}
	if checksum != "" && !strings.EqualFold(checksum, inner) {
		return "", "", fmt.Errorf("two checksums that differ: %s and %s", checksum, inner)
	}
	return address, inner, nil
}

// validChecksum takes sha256:HEX and sha512:HEX.
func validChecksum(sum string) error {
	kind, digits, _ := strings.Cut(sum, ":")
	size := map[string]int{"sha256": 32, "sha512": 64}[strings.ToLower(kind)]
	if b, err := hex.DecodeString(digits); err != nil || size == 0 || len(b) != size {
		return fmt.Errorf("checksum %.200q: want sha256: and 64, or sha512: and 128 hex digits", sum)
	}
	return nil
}
