package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/google/renameio/v2"
)

// writeTemplate writes a configuration file in which every setting stands as a
// comment, unless there is a file already.
func writeTemplate(file string) error {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var b strings.Builder
	b.WriteString("# wemixvisor's settings. A flag wins over an environment variable, which wins\n# over this file.\n")
	r := &reader{set: flag.NewFlagSet("", flag.ContinueOnError)}
	r.define(&settings{})
	r.set.VisitAll(func(f *flag.Flag) {
		if f.Name == "config" || f.Name == "home" { // they say where this file is
			return
		}
		_, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(&b, "\n# %s\n# %s = %q\n", usage, f.Name, f.DefValue)
	})
	if err := renameio.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}
