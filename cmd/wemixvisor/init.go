package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wemix/wemixvisor/reaper"
	"github.com/wemix/wemixvisor/upgrade"
)

// layOut makes a home from a node binary. It never replaces what is there.
func layOut(ctx context.Context, s *settings, args []string) error {
	set := flag.NewFlagSet("init", flag.ContinueOnError)
	cosmovisor := set.String("import-cosmovisor", "", "")
	args, err := flags(set, args)
	if err != nil {
		return err
	}
	if len(args) > 1 {
		return usageError{fmt.Errorf("init takes one node binary, not %d", len(args))}
	}
	home := upgrade.Home{Root: s.home, Name: s.name}
	binary, err := bundled(s, args)
	if err != nil && *cosmovisor == "" {
		return err
	}
	if *cosmovisor == "" {
		if err := home.Check(binary); err != nil {
			return err
		}
	} else if info, err := os.Stat(*cosmovisor); err != nil || !info.IsDir() {
		return usageError{fmt.Errorf("init: %s is no folder to import", *cosmovisor)}
	}
	lock, err := home.Lock(ctx, s.lockTimeout, "init")
	if err != nil {
		return err
	}
	defer lock.Close()
	if *cosmovisor != "" {
		if err := home.Import(*cosmovisor); err != nil {
			return err
		}
	}
	if err := home.Prepare(binary); err != nil {
		return err
	}
	if err := writeTemplate(filepath.Join(home.Dir(), "config.toml")); err != nil {
		return err
	}
	fmt.Printf("%s is laid out; the node binary in use is %s\n", s.home, home.Current())
	return nil
}

// bundled returns the node binary that was named, or the image's; empty when
// it holds none.
func bundled(s *settings, args []string) (string, error) {
	name := s.name
	if len(args) == 1 {
		name = args[0]
		if abs, err := filepath.Abs(name); err == nil {
			name = abs // what is named is a file, not a word to look up
		}
	}
	file, err := reaper.Find(name, os.Getenv("PATH"))
	if errors.Is(err, reaper.ErrNotFound) && len(args) == 0 {
		return "", nil
	}
	return file, err
}
