package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/wemix/wemixvisor/backup"
	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/upgrade"
)

const backupVerbs = "one of create, list, verify, restore, prune"

// backUp makes and restores backups: through the running supervisor where there
// is one, else by itself.
func backUp(ctx context.Context, s *settings, args []string) error {
	if len(args) == 0 {
		return usageError{errors.New("backup: " + backupVerbs)}
	}
	verbs := map[string]func(context.Context, *settings, []string) error{
		"create": createBackup, "list": listBackups, "verify": verifyBackups, "restore": restoreBackup, "prune": pruneBackups,
	}
	do, ok := verbs[args[0]]
	if !ok {
		return usageError{fmt.Errorf("backup %s: %s", args[0], backupVerbs)}
	}
	return do(ctx, s, args[1:])
}

func createBackup(ctx context.Context, s *settings, args []string) error {
	set := flag.NewFlagSet("backup create", flag.ContinueOnError)
	raw := set.Bool("json", false, "")
	online, secrets := set.Bool("online", false, ""), set.Bool("include-secrets", false, "")
	args, err := flags(set, args)
	if err != nil {
		return err
	}
	if err := none("backup create", args); err != nil {
		return err
	}
	made, err := delegate(ctx, s, "create", true, func(c *api.Client) (made api.Backup, err error) {
		return made, c.Post(ctx, "backups", api.BackupWish{Online: *online, IncludeSecrets: *secrets}, &made)
	}, func(b *upgrade.Backups) (api.Backup, error) {
		info, err := b.Create(ctx, upgrade.BackupOptions{Online: *online, IncludeSecrets: *secrets})
		return api.Backup{Info: info}, err
	})
	if err != nil {
		return err
	}
	if *raw {
		return printJSON(made)
	}
	fmt.Printf("%s: %s of %s, verified%s\n", made.ID, size(made.Bytes), size(made.DataBytes), reservations(made.Info))
	return nil
}

// reservations says what a backup is not, or has in it that is dangerous.
func reservations(info backup.Info) string {
	var all []string
	switch {
	case info.Origin.Consistency == backup.Frozen:
		all = append(all, "taken from a running node: a restore may lose the newest blocks")
	case !info.Origin.CleanShutdown:
		all = append(all, "the node had not been stopped cleanly")
	}
	if info.Secrets {
		all = append(all, "holds the node's identity")
	}
	if info.Damage != "" {
		all = append(all, info.Damage)
	}
	if len(all) == 0 {
		return ""
	}
	return "; " + strings.Join(all, "; ")
}

func listBackups(ctx context.Context, s *settings, args []string) error {
	set := flag.NewFlagSet("backup list", flag.ContinueOnError)
	raw := set.Bool("json", false, "")
	args, err := flags(set, args)
	if err != nil {
		return err
	}
	if err := none("backup list", args); err != nil {
		return err
	}
	all, err := everyBackup(ctx, s)
	if err != nil {
		return err
	}
	if *raw {
		return printJSON(all)
	}
	if len(all) == 0 {
		fmt.Println("no backups in " + s.dataBackupDir)
		return nil
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tCREATED\tSIZE\tDATA\tHEIGHT\tREASON\tVERIFIED\tSECRETS\t")
	for _, b := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", b.ID, b.Created.Format(time.RFC3339), size(b.Bytes), size(b.DataBytes),
			b.Origin.Height, b.Reason, yes(b.Verified), yes(b.Secrets), strings.TrimPrefix(reservations(b.Info), "; "))
	}
	return w.Flush()
}

func everyBackup(ctx context.Context, s *settings) ([]api.Backup, error) {
	return delegate(ctx, s, "list", false, func(c *api.Client) (all []api.Backup, err error) {
		return all, c.Get(ctx, "backups", &all)
	}, func(b *upgrade.Backups) ([]api.Backup, error) {
		infos, err := b.List()
		return wrap(infos), err
	})
}

// wrap makes of what we did ourselves what a supervisor would have answered.
func wrap(infos []backup.Info) []api.Backup {
	all := make([]api.Backup, len(infos))
	for i, info := range infos {
		all[i].Info = info
	}
	return all
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func verifyBackups(ctx context.Context, s *settings, args []string) error {
	set := flag.NewFlagSet("backup verify", flag.ContinueOnError)
	raw, every := set.Bool("json", false, ""), set.Bool("all", false, "")
	args, err := flags(set, args)
	if err != nil {
		return err
	}
	if len(args) > 1 || len(args) == 1 && *every {
		return usageError{errors.New("backup verify: want one ID, or --all, or neither for the newest")}
	}
	ids := args
	if len(ids) == 0 {
		all, err := everyBackup(ctx, s)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return fmt.Errorf("backup verify: %w in %s", backup.ErrNotFound, s.dataBackupDir)
		}
		for _, b := range all {
			ids = append(ids, b.ID)
		}
		if !*every {
			ids = ids[:1]
		}
	}
	verdicts, first := []verdict{}, error(nil)
	for _, id := range ids {
		v := verdict{ID: id}
		found, err := delegate(ctx, s, "verify", false, func(c *api.Client) (found api.Backup, err error) {
			if _, _, _, ok := backup.ParseID(id); !ok {
				return found, api.ErrNotRunning // a folder: it need not lie where the supervisor sees it
			}
			return found, c.Post(ctx, "backups/"+id+"/verify", struct{}{}, &found)
		}, func(b *upgrade.Backups) (api.Backup, error) {
			infos, err := b.Verify(ctx, id)
			if err != nil {
				return api.Backup{}, err
			}
			return api.Backup{Info: infos[0]}, nil
		})
		if v.OK = err == nil; err != nil {
			v.Error = err.Error()
			if first == nil {
				first = err
			}
		}
		if v.OK && !*raw {
			fmt.Printf("%s: whole, %s of %s%s\n", id, size(found.Bytes), size(found.DataBytes), reservations(found.Info))
		} else if !*raw && len(ids) > 1 {
			fmt.Printf("%s: %s\n", id, v.Error)
		}
		verdicts = append(verdicts, v)
	}
	if *raw {
		if err := printJSON(verdicts); err != nil {
			return err
		}
	}
	return first
}

// verdict is one line of what verify found.
type verdict struct {
	ID    string `json:"id"`
	OK    bool   `json:"verified"`
	Error string `json:"error"`
}

func restoreBackup(ctx context.Context, s *settings, args []string) error {
	set := flag.NewFlagSet("backup restore", flag.ContinueOnError)
	raw, force, to := set.Bool("json", false, ""), set.Bool("force", false, ""), set.String("to", "", "")
	args, err := flags(set, args)
	if err != nil {
		return err
	}
	if len(args) != 1 {
		return usageError{errors.New("backup restore: want an ID of backup list, or a folder that holds a backup")}
	}
	from := args[0]
	var done api.Backup
	if *to != "" {
		done, err = extractBackup(ctx, s, from, *to)
	} else {
		wish := api.RestoreWish{Force: *force}
		done, err = delegate(ctx, s, "restore", true, func(c *api.Client) (done api.Backup, err error) {
			id := from
			if _, _, _, ok := backup.ParseID(from); !ok || exists(from) {
				if wish.Folder, err = filepath.Abs(from); err != nil { // the supervisor stands elsewhere
					return done, fmt.Errorf("find %s: %w", from, err)
				}
				info, err := alone(s, nil).repo.Info(wish.Folder)
				if err != nil {
					return done, err
				}
				id = info.ID
			}
			return done, c.Post(ctx, "backups/"+id+"/restore", wish, &done)
		}, func(b *upgrade.Backups) (api.Backup, error) {
			info, err := b.Restore(ctx, from, *force)
			return api.Backup{Info: info}, err
		})
	}
	if err != nil {
		return err
	}
	if *raw {
		return printJSON(done)
	}
	where := s.dataDir
	if *to != "" {
		where = *to
	}
	fmt.Printf("%s restored to %s: %s, height %d%s\n", done.ID, where, size(done.DataBytes), done.Origin.Height, reservations(done.Info))
	return nil
}

// extractBackup unpacks a backup into a folder of its own. That concerns nobody
// else, so nobody is asked.
func extractBackup(ctx context.Context, s *settings, from, to string) (api.Backup, error) {
	p := newProgress(os.Stderr)
	defer p.end()
	b := alone(s, nil)
	info, err := b.repo.Extract(ctx, from, to, backup.ExtractOptions{Secrets: true, Workers: s.backupWorkers, OnProgress: func(at backup.Progress) {
		p.show("decoding", at.Done, at.Total)
	}})
	return api.Backup{Info: info}, err
}

func pruneBackups(ctx context.Context, s *settings, args []string) error {
	set := flag.NewFlagSet("backup prune", flag.ContinueOnError)
	raw, dry := set.Bool("json", false, ""), set.Bool("dry-run", false, "")
	args, err := flags(set, args)
	if err != nil {
		return err
	}
	if err := none("backup prune", args); err != nil {
		return err
	}
	gone, err := delegate(ctx, s, "prune", false, func(c *api.Client) (gone []api.Backup, err error) {
		return gone, c.Post(ctx, "backups/prune", api.PruneWish{DryRun: *dry}, &gone)
	}, func(b *upgrade.Backups) ([]api.Backup, error) {
		infos, err := b.Prune(ctx, *dry)
		return wrap(infos), err
	})
	if err != nil {
		return err
	}
	if *raw {
		return printJSON(gone)
	}
	for _, b := range gone {
		word := "deleted"
		if *dry {
			word = "would be deleted"
		}
		fmt.Printf("%s: %s, %s\n", b.ID, word, size(b.Bytes))
	}
	if len(gone) == 0 {
		fmt.Println("nothing to delete")
	}
	return nil
}
