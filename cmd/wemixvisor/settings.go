package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peterbourgon/ff/v3"
)

// settings holds every setting of the program: a flag, an environment variable
// and a key of the configuration file each. Nothing outside this package reads
// any of the three.
//
// A setting is a field and a line of the define below it, in the file of what it
// is about.
type settings struct {
	homeSettings
	nodeSettings
	probeSettings
	alertSettings
	logSettings

	warnings []string // said once the log is open
}

// define binds every setting to its flag. The usage texts are the manual: the
// README's table is checked against them.
func (r *reader) define(s *settings) {
	s.homeSettings.define(r)
	s.nodeSettings.define(r)
	s.probeSettings.define(r)
	s.alertSettings.define(r)
	s.logSettings.define(r)
}

// parse reads flags, environment and file, in this order of precedence, and
// returns the arguments behind the flags.
func parse(args []string) (*settings, []string, error) {
	// The file's place depends on settings that may stand before it, so they
	// are read twice.
	first, _, err := read(args, "")
	if first == nil {
		return nil, nil, err
	}
	file := first.config
	if file == "" && first.home != "" {
		if usual := filepath.Join(first.home, "wemixvisor", "config.toml"); exists(usual) {
			file = usual
		}
	}
	s, rest, err := read(args, file)
	if err != nil {
		return nil, nil, err
	}
	s.warnings = strangers(os.Environ())
	return s, rest, nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// read parses once. On a usage error it returns no settings at all.
func read(args []string, file string) (*settings, []string, error) {
	s := &settings{}
	r := &reader{set: flag.NewFlagSet("wemixvisor", flag.ContinueOnError)}
	r.set.SetOutput(io.Discard)
	r.define(s)
	options := []ff.Option{ff.WithEnvVarPrefix("DAEMON")}
	if file != "" {
		options = append(options, ff.WithConfigFile(file), ff.WithIgnoreUndefined(true), ff.WithConfigFileParser(r.file(file)))
	}
	if err := ff.Parse(r.set, args, options...); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, nil, err
		}
		return nil, nil, usageError{errors.New(strings.TrimPrefix(err.Error(), "error parsing commandline arguments: "))}
	}
	if err := s.complete(); err != nil {
		r.errs = append(r.errs, err)
	}
	if len(r.errs) > 0 {
		return s, nil, usageError{join(r.errs)}
	}
	return s, r.set.Args(), nil
}

// strangers returns a warning for each DAEMON_ variable that is no setting: a
// typo would else be a setting that is silently not made.
func strangers(environ []string) []string {
	r := &reader{set: flag.NewFlagSet("", flag.ContinueOnError)}
	r.define(&settings{})
	known := map[string]bool{}
	r.set.VisitAll(func(f *flag.Flag) { known[envName(f.Name)] = true })
	var unknown []string
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "DAEMON_") && !known[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}
