package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/wemix/wemixvisor/backup"
	"github.com/wemix/wemixvisor/probe"
	"github.com/wemix/wemixvisor/upgrade"
)

func examineHome(_ context.Context, p *patient) []finding {
	return []finding{writable(p.s.home)}
}

func examineDataDir(_ context.Context, p *patient) []finding {
	if strings.TrimPrefix(p.s.dataDir, p.s.home) == "/wemixvisor" {
		return []finding{red(p.s.dataDir+" is our own folder", "set data-dir to where the node's --datadir is")}
	}
	return []finding{writable(p.s.dataDir)}
}

func examineBackups(_ context.Context, p *patient) []finding {
	return []finding{writable(p.backups())}
}

// backups is where archives go.
func (p *patient) backups() string { return p.s.dataBackupDir }

// volumes are all paths that something is written to.
func (p *patient) volumes() []string { return []string{p.s.home, p.s.dataDir, p.backups()} }

func writable(dir string) finding {
	if err := upgrade.Writable(dir); err != nil {
		return red(err.Error(), fmt.Sprintf("give it to the user we run as: chown -R %d:%d %s, or in Kubernetes set fsGroup", os.Geteuid(), os.Getegid(), dir))
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return ok("%s is not there yet and can be made", dir)
	}
	return ok("%s is writable", dir)
}

// examineOwnership looks for files that a snapshot can't hard-link: it would
// have to copy them.
func examineOwnership(ctx context.Context, p *patient) []finding {
	ctx, cancel := context.WithTimeout(ctx, examinationTime/2)
	defer cancel()
	u, err := backup.FindUnlinkable(ctx, p.s.dataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []finding{ok("%s is not there yet", p.s.dataDir)}
	case err != nil:
		return []finding{warn(err.Error(), "snapshots must read all of the data directory")}
	case u.Files > 0:
		return []finding{warn(
			fmt.Sprintf("%d of %d files are another user's, such as %s: the kernel lets nobody else hard-link them (fs.protected_hardlinks), so snapshots copy them", u.Files, u.Looked, u.Example),
			fmt.Sprintf("chown -R %d:%d %s, or in Kubernetes set fsGroup with fsGroupChangePolicy: OnRootMismatch", os.Geteuid(), os.Getegid(), p.s.dataDir))}
	case u.Looked == 0:
		return []finding{ok("there is no file that could not be hard-linked")}
	case ctx.Err() != nil:
		return []finding{ok("the first %d files can be hard-linked", u.Looked)}
	}
	return []finding{ok("all %d files can be hard-linked", u.Looked)}
}

// examineSpace judges each file system once.
func examineSpace(_ context.Context, p *patient) []finding {
	var findings []finding
	seen := map[uint64]bool{}
	for _, dir := range p.volumes() {
		if dev, known := device(dir); known && seen[dev] {
			continue
		} else if known {
			seen[dev] = true
		}
		d, wrong := probe.Measure(dir)
		if wrong != "" {
			findings = append(findings, red(dir+": "+wrong, "make room or enlarge the volume: nodes of this family end by themselves when it is full"))
			continue
		}
		inodes := ""
		if d.Inodes > 0 {
			inodes = fmt.Sprintf(", %d of %d inodes", d.InodesFree, d.Inodes)
		}
		findings = append(findings, ok("%s: %s%s", dir, d, inodes))
	}
	return findings
}

// device is the file system that dir is on, or would be on.
func device(dir string) (uint64, bool) {
	for {
		var st syscall.Stat_t
		err := syscall.Stat(dir, &st)
		if err == nil {
			return st.Dev, true
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return 0, false
		}
		dir = filepath.Dir(dir)
	}
}

func examineFileSystem(_ context.Context, p *patient) []finding {
	for _, dir := range p.volumes() {
		if kind := upgrade.Remote(dir); kind != "" {
			return []finding{warn(dir+" is on "+kind+": its locks may not hold between machines", "make sure that never two containers use this volume; prefer a disk of its own")}
		}
	}
	return []finding{ok("local: locks hold")}
}

// fileSlack is how far the times of files may be ahead: those of a volume that
// another machine wrote to a moment ago.
const fileSlack = 10 * time.Second

// examineClock compares our clock with what was written down before: files and
// blocks. It asks nobody on the network.
func examineClock(ctx context.Context, p *patient) []finding {
	now := time.Now()
	for _, pattern := range []string{p.s.home + "/*", p.home.Dir() + "/*", p.s.dataDir + "/*", p.s.dataDir + "/*/*"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			info, err := os.Lstat(file)
			if ahead := time.Duration(0); err == nil {
				if ahead = info.ModTime().Sub(now); ahead > fileSlack {
					return []finding{red(fmt.Sprintf("%s was written %s in the future: the clock went back, or the volume comes from a machine whose clock is ahead", file, ahead.Round(time.Second)), "set the machine's clock (NTP)")}
				}
			}
		}
	}
	if f, err := p.ask(ctx); err == nil && f.HeadKnown {
		ahead := time.Until(f.Head.Time)
		if ahead > fileSlack {
			return []finding{red(fmt.Sprintf("the newest block is %s in the future: this machine's clock is behind the chain's", ahead.Round(time.Second)), "set the machine's clock (NTP): nodes refuse such blocks")}
		}
		return []finding{ok("%s; neither file nor block is in the future, and the newest block is %s old", now.UTC().Format(time.RFC3339), (-ahead).Round(time.Second))}
	}
	return []finding{ok("%s; no file is in the future", now.UTC().Format(time.RFC3339))}
}
