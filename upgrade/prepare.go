package upgrade

import (
	"cmp"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log/level"
	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/backup"
	"github.com/wemix/wemixvisor/upgrade/fetch"
)

// retry is when a plan that is not ready is looked at again: after a while,
// twice as long each time, and at once when its binary changes.
type retry struct {
	digest string
	at     time.Time
	wait   time.Duration
	file   fileID
}

const longestRetry = 5 * time.Minute

// binary is where a plan's binary lies.
func (u *Upgrader) binary(r *Record) string { return u.cfg.Home.binary(r.folder()) }

// prepareNext prepares the plan whose turn it is. One at a time: downloads
// share a line, and the nearest height matters most.
func (u *Upgrader) prepareNext(s *state, now time.Time) {
	if u.preparing != "" {
		return
	}
	var pending []*Record
	for _, r := range s.Records {
		if r.Held {
			continue
		}
		switch r.Stage {
		case Scheduled, Preparing:
			pending = append(pending, r)
		case NotReady:
			if u.again(r, now) {
				pending = append(pending, r)
			}
		}
	}
	slices.SortStableFunc(pending, func(a, b *Record) int { return cmp.Compare(a.order(), b.order()) })
	for _, r := range pending {
		// What was looked at before, and has not changed, is ready at once.
		if in, ok := u.checked[u.binary(r)]; ok && in.err == nil && in.file == u.stat(r) {
			u.prepared(r, in, u.suits(context.Background(), r, in))
			continue
		}
		if r.Stage == Scheduled {
			u.enter(r.Name, Preparing, "", nil)
		}
		u.preparing = r.Name
		u.job(func(ctx context.Context) {
			in, err := u.prepare(ctx, r)
			u.turn.Lock()
			defer u.turn.Unlock()
			u.preparing = ""
			if ctx.Err() == nil {
				u.prepared(r, in, err)
			}
		})
		return
	}
}

// again reports whether a plan that was not ready is to be looked at again.
func (u *Upgrader) again(r *Record, now time.Time) bool {
	t, tried := u.retries[r.Name]
	return !tried || t.digest != r.Digest || !now.Before(t.at) || t.file != u.stat(r)
}

func (u *Upgrader) stat(r *Record) fileID {
	info, err := os.Stat(u.binary(r))
	if err != nil {
		return fileID{}
	}
	return idOf(info)
}

// prepare puts the plan's binary in place, if it is not, and checks it. The node
// is not touched.
func (u *Upgrader) prepare(ctx context.Context, r *Record) (inspected, error) {
	file := u.binary(r)
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		address, checksum := r.Info.Here()
		switch {
		case address == "":
		case !u.cfg.AllowDownload:
			return inspected{}, fmt.Errorf("no binary at %s, and downloads are not allowed; put it there, or set allow-download-binaries", file)
		default:
			if err := os.MkdirAll(u.cfg.Home.downloads(), 0o755); err != nil {
				return inspected{}, err
			}
			u.download.Store(&Download{Name: r.Name})
			defer u.download.Store(nil)
			if _, err := u.fetcher.Get(ctx, fetch.Source{URL: address, Checksum: checksum}, file); err != nil {
				return inspected{}, err
			}
		}
	}
	in := u.inspect(ctx, file)
	if in.err != nil {
		return in, in.err
	}
	return in, u.suits(ctx, r, in)
}

// suits reports whether a binary that can run here is the plan's, and all else
// that the plan needs is there.
func (u *Upgrader) suits(ctx context.Context, r *Record, in inspected) error {
	if err := u.matches(ctx, r, in); err != nil {
		return err
	}
	return u.provided(ctx, r)
}

// matches compares a binary with the checksum in its plan. Where that is of an
// archive, the download was compared with it. Not so where the plan comes from
// the chain: its checksum is always the binary's, or an archive's address would
// make that of a staged one say nothing.
func (u *Upgrader) matches(ctx context.Context, r *Record, in inspected) error {
	address, checksum := r.Info.Here()
	if checksum == "" || isArchive(address) && r.By != ByGovernance {
		return nil
	}
	kind, want, _ := strings.Cut(checksum, ":")
	have := in.sha256
	if strings.EqualFold(kind, "sha512") {
		var err error
		if have, err = hash512(ctx, u.binary(r)); err != nil {
			return err
		}
	}
	if !strings.EqualFold(have, want) {
		return fmt.Errorf("%s: %w: it has %s:%s, the plan wants %s", u.binary(r), fetch.ErrChecksum, strings.ToLower(kind), have, strings.ToLower(checksum))
	}
	return nil
}

func isArchive(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	switch path.Ext(u.Path) {
	case ".zip", ".gz", ".tgz", ".zst", ".tzst", ".tar":
		return true
	}
	return false
}

func hash512(ctx context.Context, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha512.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), ctx.Err()
}

// prepared notes how a preparation ended. The plan may have been changed, or
// cancelled, meanwhile.
func (u *Upgrader) prepared(r *Record, in inspected, err error) {
	is := u.journal.read().record(r.Name)
	if is == nil || is.Digest != r.Digest || !is.Stage.Pending() || is.Held {
		return
	}
	if in.err == nil && in.sha256 != "" {
		u.checked[u.binary(r)] = in
	}
	if err != nil {
		t := u.retries[r.Name]
		if t.digest != r.Digest || t.wait == 0 {
			t = retry{digest: r.Digest, wait: u.cfg.RetryInterval / 2}
		}
		t.wait = min(2*t.wait, longestRetry)
		t.at, t.file = time.Now().Add(t.wait), u.stat(r)
		u.retries[r.Name] = t
		u.enter(r.Name, NotReady, oneLine(err), func(r *Record) { r.SHA256, r.Fault = "", faultOf(err) })
		return
	}
	delete(u.retries, r.Name)
	u.record("note the binary", func(s *state) {
		is = s.record(r.Name)
		is.SHA256, is.Version, is.File, is.Fault = in.sha256, in.version, in.file, ""
		is.enter(Prepared, "", time.Now())
		s.see(in.sha256, r.Name, in.version)
	})
	u.tell(is)
	if e := u.entry(is, u.cfg.Facts()); e.Warning != "" {
		level.Warn(u.logger).Log("msg", "plan and fork", "plan", is.Name, "height", is.Height, "warning", e.Warning)
	}
}

// see notes a binary that the volume holds.
func (s *state) see(sum, name, version string) {
	if _, known := s.Seen[sum]; !known && sum != "" {
		s.Seen[sum] = Seen{Name: name, Version: version, At: time.Now()}
	}
}

func faultOf(err error) string {
	switch {
	case errors.Is(err, fetch.ErrChecksum):
		return FaultChecksum
	case errors.Is(err, backup.ErrNoSpace), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return FaultNoSpace
	}
	return ""
}

// oneLine makes a reason of an error.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(err.Error(), "?")), " ")
	if r := []rune(text); len(r) > 500 {
		text = string(r[:500]) + "…"
	}
	return text
}

// Download is how far the download of a plan's binary has come.
type Download struct {
	Name  string  `json:"name"`
	Done  int64   `json:"done"`  // bytes
	Total int64   `json:"total"` // bytes; 0: unknown
	Rate  float64 `json:"rate"`  // bytes per second
}

// downloaded passes on how far a download has come.
func (u *Upgrader) downloaded(p fetch.Progress) {
	d := u.download.Load()
	if d == nil {
		return
	}
	now := Download{d.Name, p.Done, p.Total, p.Rate}
	u.download.Store(&now)
	if u.cfg.OnDownload != nil {
		u.cfg.OnDownload(now)
	}
}
