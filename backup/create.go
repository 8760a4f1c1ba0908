package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/backup/durable"
	"github.com/wemix/wemixvisor/backup/failpoint"
)

// CreateOptions say how an archive is made. Zero fields mean what is written
// beside them.
type CreateOptions struct {
	Kind    string // "": KindFull
	Reason  string // why, a word for people: scheduled, manual, upgrade
	Upgrade string // the upgrade before which it is made: such ones are kept longer
	Origin  Origin

	// IncludeSecrets takes in the node's identity: whoever has the archive can be
	// the node then, and whoever starts it beside the node signs twice.
	IncludeSecrets bool

	// AllowPartial makes an archive even if some of the node's data lies where it
	// does not reach; else that is [ErrPartial].
	AllowPartial bool

	Level   int   // 0: 1, the fastest
	Workers int   // 0: one while the node runs, else one for each processor
	Rate    int64 // most bytes read a second; 0: no limit

	OnProgress func(Progress) // of content read
	OnVerify   func(Progress) // of content read back
}

// Create makes an archive of src and verifies it, reading back what is on disk,
// before it is listed. When it returns an error, or the process is killed, there
// is none.
//
// It returns [ErrBusy] if somebody else writes to the repository, [ErrNoSpace]
// if the archive would leave less room than the floor, [ErrPartial], [ErrChanged]
// if the source is written to, and what ctx says when that ends.
func (r *Repo) Create(ctx context.Context, src Source, o CreateOptions) (info Info, err error) {
	l, err := r.begin("create")
	if err != nil {
		return Info{}, fmt.Errorf("create archive: %w", err)
	}
	defer l.Close()
	if o.Kind == "" {
		o.Kind = KindFull
	}
	if o.Level == 0 {
		o.Level = 1
	}
	old, err := r.List()
	if err != nil {
		return Info{}, err
	}
	extent, err := r.measure(ctx, src, o)
	if err != nil {
		return Info{}, fmt.Errorf("create archive: %w", err)
	}
	if err := r.cfg.Floor.Check(r.cfg.Dir, expect(extent, old)); err != nil {
		return Info{}, fmt.Errorf("create archive: %w", err)
	}
	now := r.cfg.Now().UTC().Truncate(time.Second)
	ids := make([]string, len(old))
	for i := range old {
		ids[i] = old[i].ID
	}
	m := Manifest{
		Format: archiveFormat, Program: r.cfg.Program, ID: NewID(now, NextSequence(ids), o.Kind), Created: now,
		Kind: o.Kind, Reason: o.Reason, Upgrade: o.Upgrade, Origin: o.Origin, Secrets: o.IncludeSecrets,
		Excluded: extent.excluded, Partial: extent.loss != "",
	}
	making, final := filepath.Join(r.cfg.Dir, makingPrefix+m.ID), filepath.Join(r.cfg.Dir, m.ID)
	failpoint.At("archive.create.begin")
	if err := os.Mkdir(making, 0o700); err != nil {
		return Info{}, fmt.Errorf("create archive: %w", spaceErrorAt(r.cfg.Dir, err))
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("create archive: %w", errors.Join(spaceErrorAt(r.cfg.Dir, err), removeArchive(making)))
		}
	}()
	failpoint.At("archive.create.folder")
	pack := func(p *packer) error {
		if _, err := src.walk(ctx, r.cfg.Dir, o.IncludeSecrets, p.add); err != nil {
			return err
		}
		if !src.Online && p.count != extent.count {
			return fmt.Errorf("%w: it had %d entries, then %d", ErrChanged, extent.count, p.count)
		}
		return nil
	}
	info, wrote, err := r.fill(ctx, making, &m, o, src.Online, counter(extent.bytes, o.OnProgress), pack)
	if err != nil {
		return Info{}, err
	}
	failpoint.At("archive.create.filled")
	if err := durable.SyncDir(making); err != nil {
		return Info{}, err
	}
	failpoint.At("archive.create.synced")
	if err := r.verify(ctx, making, info, wrote, o.Workers, o.OnVerify); err != nil {
		return Info{}, err
	}
	failpoint.At("archive.create.verified")
	info.Verified, info.VerifiedAt = true, r.cfg.Now().UTC().Truncate(time.Second)
	if err := writeJSON(filepath.Join(making, infoFile), info); err != nil {
		return Info{}, err
	}
	failpoint.At("archive.create.info")
	if err := os.Rename(making, final); err != nil {
		return Info{}, err
	}
	failpoint.At("archive.create.renamed")
	if err := durable.SyncDir(r.cfg.Dir); err != nil {
		making = final // whether its name lasts is not known: no half promise
		return Info{}, err
	}
	failpoint.At("archive.create.done")
	return info, nil
}

// begin takes the repository, and deletes what an earlier process left half made.
func (r *Repo) begin(what string) (*repoLock, error) {
	if err := makeFolders(r.cfg.Dir); err != nil {
		return nil, err
	}
	l, err := r.lock(what)
	if err != nil {
		return nil, err
	}
	if _, err := r.sweep(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// extent is what a source holds.
type extent struct {
	count, bytes int64
	excluded     []Excluded
	loss         string // the first of what is excluded with loss
}

func (r *Repo) measure(ctx context.Context, src Source, o CreateOptions) (x extent, err error) {
	x.excluded, err = src.walk(ctx, r.cfg.Dir, o.IncludeSecrets, func(_ string, e Entry) error {
		x.count++
		if e.Mode.IsRegular() {
			x.bytes += e.Size
		}
		return nil
	})
	if err != nil {
		return x, err
	}
	for _, e := range x.excluded {
		if e.Loss && x.loss == "" {
			x.loss = fmt.Sprintf("%q: %s", e.Path, e.Why)
		}
	}
	if x.loss != "" && !o.AllowPartial {
		return x, fmt.Errorf("%w: %s", ErrPartial, x.loss)
	}
	return x, nil
}

// expect returns how large an archive may become, by the ratio of the last one.
func expect(x extent, old []Info) int64 {
	ratio := 1.0
	for _, i := range old {
		if i.Verified && i.DataBytes > 1<<20 {
			ratio = float64(i.Bytes) / float64(i.DataBytes)
			break
		}
	}
	return int64(float64(x.bytes)*ratio*1.05) + x.count*256
}

// fill writes data and manifest into the folder, of what pack hands to the packer,
// and returns what the data must still be when it is read back.
func (r *Repo) fill(ctx context.Context, folder string, m *Manifest, o CreateOptions, online bool, seen func(int64), pack func(*packer) error) (info Info, wrote seal, err error) {
	data, err := os.OpenFile(filepath.Join(folder, dataFile), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return info, wrote, err
	}
	defer data.Close()
	list, err := os.OpenFile(filepath.Join(folder, "items"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return info, wrote, err
	}
	defer list.Close()
	defer os.Remove(list.Name())
	items, err := newItemList(list)
	if err != nil {
		return info, wrote, err
	}
	out := &written{file: data, folder: folder, floor: r.cfg.Floor}
	alone := func() bool { return o.Workers == 0 && r.cfg.NodeRuns() }
	past := newDirectWriter(data)
	w, err := newFrameWriter(ctx, past, o.Level, workers(o.Workers), alone, out.onward)
	if err != nil {
		return info, wrote, err
	}
	defer w.Close()
	p := packer{
		ctx: ctx, w: w, items: items, online: online, names: map[inode]string{}, hash: xxh3.New(),
		pace: pace{rate: o.Rate, gentle: r.cfg.NodeRuns, pressure: pressureFile},
		seen: seen,
	}
	if err := pack(&p); err != nil {
		return info, wrote, err
	}
	failpoint.At("archive.create.packed")
	manifest, err := os.OpenFile(filepath.Join(folder, manifestFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return info, wrote, err
	}
	defer manifest.Close()
	sum := sha256.New()
	if err := p.finish(m, io.MultiWriter(manifest, sum)); err != nil {
		return info, wrote, err
	}
	if err := past.Flush(); err != nil {
		return info, wrote, err
	}
	failpoint.At("archive.create.written")
	for _, f := range []*os.File{data, manifest} {
		if err := f.Sync(); err != nil {
			return info, wrote, err
		}
	}
	fi, err := manifest.Stat()
	if err != nil {
		return info, wrote, err
	}
	info = m.info()
	info.Manifest = hexOf(sum)
	info.SHA256, info.Size = hexOf(w.sum), w.size
	info.Bytes = info.Size + fi.Size()
	return info, seal{xxh3.New(), hexOf(w.quick)}, nil
}

// written watches a file grow.
type written struct {
	file    *os.File
	folder  string
	floor   Floor
	flushed int64
}

const flushEvery = 16 << 20

// onward has the kernel write what is there already: an fsync of it all at the
// end would hold up whoever else writes. And it sees to it that the node keeps
// its room, whoever takes it.
func (w *written) onward(size int64) error {
	if size-w.flushed >= flushEvery {
		_ = unix.SyncFileRange(int(w.file.Fd()), w.flushed, size-w.flushed, unix.SYNC_FILE_RANGE_WRITE)
		w.flushed = size
	}
	return w.floor.Check(w.folder, 0)
}

// spaceErrorAt is spaceError with the figures of the file system of dir.
func spaceErrorAt(dir string, err error) error {
	known := spaceError(err)
	if known == err { //nolint:errorlint // is it the same, or wrapped
		return err
	}
	free, size, statErr := room(dir)
	if statErr != nil {
		return known
	}
	return fmt.Errorf("%w on %s: %s of %s are free: %w", ErrNoSpace, dir, humanBytes(free), humanBytes(size), err)
}

// counter returns a func that adds to what is done and tells the observer.
func counter(total int64, observe func(Progress)) func(int64) {
	done := int64(0)
	return func(n int64) {
		if done += n; observe != nil {
			observe(Progress{Done: done, Total: total})
		}
	}
}
