package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/wemix/wemixvisor/backup"
)

// examineArchives looks at what was made so far.
func examineArchives(_ context.Context, p *patient) []finding {
	infos, err := alone(p.s, nil).repo.List()
	if err != nil {
		return []finding{red(err.Error(), "the repository must be readable")}
	}
	var findings []finding
	for _, info := range infos {
		if info.Damage != "" {
			findings = append(findings, warn("backup "+info.ID+" is damaged: "+info.Damage, "it restores nothing; delete its folder, or copy it again"))
		}
	}
	oldest := p.s.oldestBackup()
	for _, info := range infos {
		if !info.Verified {
			continue
		}
		age := time.Since(info.Created).Round(time.Second)
		if oldest > 0 && age > oldest {
			return append(findings, warn(fmt.Sprintf("the last verified backup, %s, is %s old", info.ID, age), "look for why in the log, or: wemixvisor backup create"))
		}
		return append(findings, ok("%d, the last verified one %s old", len(infos), age))
	}
	if p.s.backupSchedule > 0 && p.running() {
		return append(findings, ok("none yet; the first comes by schedule"))
	}
	return append(findings, ok("there is none; to make one: wemixvisor backup create, or set backup-schedule"))
}

// examineSnapshots tells whether a snapshot would be of all the node's data, and
// cheap: whether its files can be linked.
func examineSnapshots(ctx context.Context, p *patient) []finding {
	var findings []finding
	for _, dir := range p.ancients() {
		if _, inside := p.within(dir); !inside {
			findings = append(findings, red("the node keeps old blocks in "+dir+", outside the data directory: neither snapshot nor backup reaches them, and both are refused",
				"move them below "+p.s.dataDir+", or start the node without --datadir.ancient and --datadir.era, and without DatabaseFreezer and DatabaseEra in its --config"))
		}
	}
	for _, at := range p.identities() {
		if rel, inside := p.within(at); inside && !backup.IsIdentity(rel) {
			findings = append(findings, warn("the node's identity is in "+at+", a name by which no backup knows it: it is archived as data is, and goes back with it",
				"have nodekey, jwtsecret and keystore/ be called so, or have them outside "+p.s.dataDir))
		}
	}
	if left, partial := p.partial(ctx); partial {
		findings = append(findings, red(left, "a backup of the rest is refused; have all of the node's data in one file system below data-dir"))
	}
	// Only in a folder of ours that is there: the data directory is the node's.
	if err := linkable(filepath.Join(p.s.dataDir, ".wemixvisor")); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		findings = append(findings, warn("no hard link can be made in "+p.s.dataDir+": "+err.Error(), "snapshots copy all of the data before they stop the node, and take as much room"))
	}
	if len(findings) == 0 {
		return []finding{ok("reach all of the data")}
	}
	return findings
}

// ancients are the folders for old blocks that the running node was given.
func (p *patient) ancients() []string {
	if p.status == nil {
		return ancients(nil, os.Environ(), "")
	}
	return ancients(p.status.Args, os.Environ(), cwd(p.status.PID))
}

// identities are where the running node was told to keep what must not exist twice.
func (p *patient) identities() []string {
	if p.status == nil {
		return told(identities, nil, os.Environ(), "")
	}
	all := told(identities, p.status.Args, os.Environ(), cwd(p.status.PID))
	for i := range all {
		all[i] = below(cwd(p.status.PID), all[i])
	}
	return all
}

// within returns a path relative to the data directory, if it is in that.
func (p *patient) within(at string) (rel string, inside bool) {
	if real, err := filepath.EvalSymlinks(at); err == nil {
		at = real
	}
	data, err := filepath.EvalSymlinks(p.s.dataDir)
	if err != nil {
		return "", false
	}
	rel, err = filepath.Rel(data, at)
	return rel, err == nil && filepath.IsLocal(rel)
}

// partial names the first of the node's data that lies where no snapshot reaches.
func (p *patient) partial(ctx context.Context) (string, bool) {
	excluded, err := backup.Tree{Root: p.s.dataDir, Own: []string{p.home.Dir(), p.s.dataBackupDir}}.Walk(ctx, func(backup.Entry) error { return nil })
	if err != nil {
		return "", false
	}
	for _, e := range excluded {
		if e.Loss {
			return fmt.Sprintf("%s in the data directory is %s", e.Path, e.Why), true
		}
	}
	return "", false
}

// linkable tries, with files that are swept at the next start should they stay, whether a file gets a second name in dir.
func linkable(dir string) error {
	f, err := os.CreateTemp(dir, ".wemixvisor-probe-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := os.Link(f.Name(), f.Name()+"-link"); err != nil {
		return err
	}
	return os.Remove(f.Name() + "-link")
}
