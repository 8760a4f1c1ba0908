package fetch

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
)

// headSize is what tells one kind of file from another: a tar's magic lies at 257.
const headSize = 512

// kind is what a download is, by its first bytes; a name proves nothing.
type kind string

const (
	plain  kind = ""
	zipped kind = "zip"
	tarred kind = "tar"
	tarGz  kind = "tar.gz"
	tarZst kind = "tar.zst"
)

func kindOf(head []byte) kind {
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return zipped
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return tarGz
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")),
		len(head) > 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte("\x2a\x4d\x18")): // a skippable frame comes first
		return tarZst
	case len(head) > 262 && string(head[257:262]) == "ustar":
		return tarred
	}
	return plain
}

// judge names the files that come in the place of a program: the pages of
// proxies, logins and errors above all, sent with 200 OK.
func judge(head []byte) error {
	if len(head) == 0 {
		return fmt.Errorf("%w: it is empty", ErrContent)
	}
	for magic, name := range map[string]string{"\xfd7zXZ\x00": "xz", "BZh": "bzip2", "7z\xbc\xaf": "7z"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return fmt.Errorf("%w: it is packed with %s; zip, tar.gz, tar.zst and tar are known", ErrArchive, name)
		}
	}
	for _, media := range []string{"html", "xml"} {
		if strings.HasPrefix(http.DetectContentType(head), "text/"+media) {
			return fmt.Errorf("%w: it is a page of %s", ErrContent, strings.ToUpper(media))
		}
	}
	return nil
}
