package upgrade

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/wemix/wemixvisor/reaper"
)

// errNotInspected marks a binary of which only the checksum is known.
var errNotInspected = errors.New("not inspected")

// inspected is a binary that was looked at.
type inspected struct {
	file    fileID
	sha256  string
	version string
	err     error // why it cannot run here
	checks  []Check
}

// Check is one question of the preflight, and its answer.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"` // what was found, or what to do
}

// Runnable says why a program cannot be started in this image, without starting
// it: it is not there or not executable, built for another machine, or its
// loader or libraries are missing. A script is taken at its word.
func Runnable(file string) error {
	if _, err := reaper.Find(file, ""); err != nil {
		return err
	}
	if err := machine(file); err != nil {
		return wrap(file, err)
	}
	l, err := links("/", file)
	if err == nil && len(l.Missing) > 0 {
		err = fmt.Errorf("missing in this image: %s; use a static build, or an image that has it", strings.Join(l.Missing, ", "))
	}
	return wrap(file, err)
}

// inspect answers everything that can be known of a binary without the node: it
// is there and executable, built for this machine, its loader and libraries are
// in this image, and it tells its version.
func (u *Upgrader) inspect(ctx context.Context, file string) inspected {
	in := inspected{}
	add := func(name string, err error, detail string) bool {
		if err != nil {
			detail = err.Error()
			if in.err == nil {
				in.err = err
			}
		}
		in.checks = append(in.checks, Check{name, err == nil, detail})
		return err == nil
	}
	info, err := os.Stat(file)
	if err != nil {
		add("binary", fmt.Errorf("%s: %w; put it there, or name a URL in the plan", file, reaper.ErrNotFound), "")
		return in
	}
	in.file = idOf(info)
	_, err = reaper.Find(file, "")
	if !add("executable", err, file) {
		return in
	}
	if err := machine(file); !add("machine", wrap(file, err), runtime.GOARCH) {
		return in
	}
	l, err := links("/", file)
	if err != nil || len(l.Missing) > 0 && l.Missing[0] == l.Loader {
		if err == nil {
			err = fmt.Errorf("its loader %s is missing in this image; use a static build, or an image that has it", l.Loader)
		}
		add("libraries", wrap(file, err), "")
		return in
	}
	if in.sha256, err = hashFile(ctx, file); !add("sha256", wrap(file, err), in.sha256) {
		return in
	}
	in.version, err = version(ctx, u.cfg.Reaper, file, u.cfg.Env, u.cfg.VersionTimeout)
	detail := "none needed"
	if l.Loader != "" {
		detail = l.Loader
	}
	if err != nil && len(l.Missing) > 0 { // then that is why
		add("libraries", fmt.Errorf("%s: missing in this image: %s", file, strings.Join(l.Missing, ", ")), "")
	} else {
		add("libraries", nil, detail)
	}
	add("version", err, in.version)
	return in
}

func wrap(file string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", file, err)
}

// hashFile returns the sha256 of a file.
func hashFile(ctx context.Context, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for ctx.Err() == nil {
		n, err := f.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", ctx.Err()
}
