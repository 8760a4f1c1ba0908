package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/wemix/wemixvisor/cmd/internal/api"
)

// configure shows, checks and changes settings.
func configure(ctx context.Context, s *settings, args []string) error {
	v, rest, err := pick("config", args,
		verb{"show", showConfig}, verb{"set", setConfig}, verb{"validate", validateConfig}, verb{"template", printTemplate}, verb{"reload", reloadConfig})
	if err != nil {
		return err
	}
	if len(s.mistakes) > 0 && (v.name == "show" || v.name == "reload") { // the others mend it
		return usageError{join(s.mistakes)}
	}
	return v.do(ctx, s, rest)
}

func showConfig(_ context.Context, s *settings, args []string) error {
	set := flag.NewFlagSet("config show", flag.ContinueOnError)
	origin, raw := set.Bool("origin", false, ""), set.Bool("json", false, "")
	args, err := flags(set, args)
	if err != nil {
		return err
	}
	if err := none("config show", args); err != nil {
		return err
	}
	all := s.list()
	if *raw {
		return printJSON(all)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, one := range all {
		line := fmt.Sprintf("%s\t%s", one.Key, quoted(one.Value))
		if *origin {
			line += "\t" + one.Origin
		}
		fmt.Fprintln(w, line)
	}
	return w.Flush()
}

// reloadConfig has the running supervisor read its settings again.
func reloadConfig(ctx context.Context, s *settings, args []string) error {
	args, err := flags(flag.NewFlagSet("config reload", flag.ContinueOnError), args)
	if err != nil {
		return err
	}
	if err := none("config reload", args); err != nil {
		return err
	}
	var done api.Reloaded
	if err := api.NewClient(s.controlSocket).Post(ctx, "config/reload", struct{}{}, &done); err != nil {
		if errors.Is(err, api.ErrInvalid) {
			return usageError{err}
		}
		return err
	}
	fmt.Println("changed: " + listed(done.Changed))
	if len(done.Restart) > 0 {
		fmt.Println("takes effect when the supervisor is restarted: " + listed(done.Restart))
	}
	return nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// validateConfig says all that is wrong with a file, whether something shadows
// it or not.
func validateConfig(_ context.Context, s *settings, args []string) error {
	args, err := flags(flag.NewFlagSet("config validate", flag.ContinueOnError), args)
	if err != nil {
		return err
	}
	if len(args) > 1 {
		return usageError{fmt.Errorf("config validate takes one file, not %d", len(args))}
	}
	file := s.file()
	if len(args) == 1 {
		file = args[0]
	} else if !exists(file) {
		if len(s.mistakes) > 0 {
			return usageError{join(s.mistakes)}
		}
		fmt.Printf("valid: no file %s; flags, variables and defaults are\n", file)
		return nil
	}
	text, err := load(file)
	if err != nil {
		return usageError{err}
	}
	if errs := mistakes(s.args, text); len(errs) > 0 {
		return usageError{join(errs)}
	}
	fmt.Printf("valid: %s\n", file)
	return nil
}

// mistakes are what is wrong with a file: by itself, and together with flags
// and variables.
func mistakes(args []string, text *document) []error {
	r := newReader()
	r.define(&settings{})
	r.file(text)
	all := r.errs
	if s, _, err := read(args, true, text); err == nil {
		all = append(all, added(r.errs, s.mistakes)...)
	}
	return all
}

// setConfig changes one line of the file.
func setConfig(ctx context.Context, s *settings, args []string) error {
	args, err := flags(flag.NewFlagSet("config set", flag.ContinueOnError), args)
	if err != nil {
		return err
	}
	if len(args) != 2 {
		return usageError{errors.New("config set takes a key and its value")}
	}
	key, value := args[0], args[1]
	known := false
	each(func(f *flag.Flag) { known = known || f.Name == key })
	if !known || key == "config" {
		return usageError{fmt.Errorf("config set: unknown key %q; see: wemixvisor config show", key)}
	}
	if err := shadow(ctx, s, key); err != nil {
		return err
	}
	if err := rewrite(s, key, value); err != nil {
		return err
	}
	fmt.Printf("%s = %s in %s; %s\n", key, quoted(masked(key, value)), s.file(), restarting(key))
	return nil
}

// shadow reports what would make a line of the file say nothing: here, or where
// the supervisor runs.
func shadow(ctx context.Context, s *settings, key string) error {
	if os.Getenv(envName(key)) != "" {
		return usageError{fmt.Errorf("config set: %s is set in the environment and wins over the file; change it there", envName(key))}
	}
	if s.given[key].origin == originFlag {
		return usageError{fmt.Errorf("config set: the flag --%s wins over the file; leave it out", key)}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var running []api.Setting
	if api.NewClient(s.controlSocket).Get(ctx, "config", &running) != nil {
		return nil // none is running, or it can't say
	}
	for _, one := range running {
		switch {
		case one.Key != key:
		case one.Origin == originFlag:
			return usageError{fmt.Errorf("config set: the running supervisor was started with --%s, which wins over the file; change it there", key)}
		case one.Origin == envName(key):
			return usageError{fmt.Errorf("config set: the running supervisor has %s in its environment, which wins over the file; change it there", envName(key))}
		}
	}
	return nil
}

// rewrite sets key in the file, which is replaced whole and at once. New
// mistakes are refused; old ones are not made worse by it.
func rewrite(s *settings, key, value string) error {
	file := s.file()
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real // the link stays one
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("config set: %w", err)
	}
	folder, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("config set: %w", err)
	}
	defer folder.Close()
	// Two of us at once must not undo each other.
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("config set: lock %s: %w", dir, err)
	}
	before, err := load(file)
	if errors.Is(err, fs.ErrNotExist) {
		before, err = &document{file, []byte(template(nil))}, nil
	}
	if err != nil {
		return fmt.Errorf("config set: %w", err)
	}
	after, err := before.set(key, value)
	if err != nil {
		return usageError{fmt.Errorf("config set: %w", err)}
	}
	if errs := added(mistakes(s.args, before), mistakes(s.args, after)); len(errs) > 0 {
		return usageError{fmt.Errorf("config set: nothing changed: %w", join(errs))}
	}
	if err := renameio.WriteFile(file, after.text, 0o644, renameio.WithExistingPermissions()); err != nil {
		return fmt.Errorf("config set: write %s: %w", file, err)
	}
	if err := folder.Sync(); err != nil { // the rename is durable only then
		return fmt.Errorf("config set: sync %s: %w", dir, err)
	}
	return nil
}

// added returns the errors of after that were not there before, wherever in the
// file they stand.
func added(before, after []error) []error {
	return slices.DeleteFunc(after, func(e error) bool {
		return slices.ContainsFunc(before, func(b error) bool { return b.Error() == e.Error() })
	})
}
