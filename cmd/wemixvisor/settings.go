package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// settings holds every setting of the program: a flag, an environment variable
// and a key of the configuration file each. Nothing outside this package reads
// any of the three.
//
// A setting is a field and a line of the define below it, in the file of what it
// is about. One that can change while the node runs is also named in reload.go.
type settings struct {
	homeSettings
	nodeSettings
	probeSettings
	alertSettings
	apiSettings
	upgradeSettings
	backupSettings
	governanceSettings
	logSettings
	validatorSettings

	args     []string         // what they were read from, for the next reading
	given    map[string]given // what was set, and where
	mistakes []error          // all that is wrong with them
	warnings []string         // said once the log is open
}

// given is one value as it was written.
type given struct{ text, origin string }

// define binds every setting to its flag. The usage texts are the manual: the
// README's table is checked against them.
func (r *reader) define(s *settings) {
	s.homeSettings.define(r)
	s.nodeSettings.define(r)
	s.probeSettings.define(r)
	s.alertSettings.define(r)
	s.apiSettings.define(r)
	s.upgradeSettings.define(r)
	s.backupSettings.define(r)
	s.governanceSettings.define(r)
	s.logSettings.define(r)
	s.validatorSettings.define(r)
}

// complete fills what depends on other settings, and refuses what does not go
// together.
func (s *settings) complete() (errs []error) {
	for _, complete := range []func() error{s.homeSettings.complete, s.apiSettings.complete, s.upgradeSettings.complete, s.governanceSettings.complete} {
		if err := complete(); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// parse reads flags, environment and file, in this order of precedence, and
// returns the arguments behind the flags. With an error that is about values
// alone it returns what it could read, for those who mend it.
func parse(args []string) (*settings, []string, error) {
	// The file's place depends on settings that may stand before it, so they
	// are read twice.
	first, _, err := read(args, true, nil)
	if err != nil {
		return nil, nil, err
	}
	var text *document
	if file := first.file(); first.config != "" || exists(file) {
		if text, err = load(file); err != nil {
			return nil, nil, usageError{err}
		}
	}
	s, rest, err := read(args, true, text)
	if err != nil {
		return nil, nil, err
	}
	s.args = args
	s.warnings = strangers(os.Environ())
	if len(s.mistakes) > 0 {
		return s, rest, usageError{join(s.mistakes)}
	}
	return s, rest, nil
}

// file is where the configuration file is, or would be.
func (s *settings) file() string {
	if s.config != "" {
		return s.config
	}
	return filepath.Join(s.home, "wemixvisor", "config.toml")
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// read parses once. What is wrong with values it notes in the settings; when the
// flags themselves are not understood it returns no settings at all.
func read(args []string, environment bool, text *document) (*settings, []string, error) {
	s := &settings{given: map[string]given{}}
	r := newReader()
	r.note = func(name, text, origin string) { s.given[name] = given{text, origin} }
	r.define(s)
	r.flagged = flagged(args)
	if err := r.set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, nil, err
		}
		return nil, nil, usageError{err}
	}
	if environment {
		r.environment()
	}
	if text != nil {
		r.file(text)
	}
	s.mistakes = append(r.errs, s.complete()...)
	return s, r.set.Args(), nil
}

// flagged returns the names of the flags that args set.
func flagged(args []string) map[string]bool {
	r := newReader()
	r.define(&settings{})
	names := map[string]bool{}
	if r.set.Parse(args) == nil {
		r.set.Visit(func(f *flag.Flag) { names[f.Name] = true })
	}
	return names
}

// each calls f for every setting there is, in the order of their names.
func each(f func(*flag.Flag)) {
	r := newReader()
	r.define(&settings{})
	r.set.VisitAll(f)
}

func newReader() *reader {
	r := &reader{set: flag.NewFlagSet("wemixvisor", flag.ContinueOnError), note: func(string, string, string) {}}
	r.set.SetOutput(io.Discard)
	return r
}

// strangers returns a warning for each DAEMON_ variable that is no setting: a
// typo would else be a setting that is silently not made.
func strangers(environ []string) []string {
	known := map[string]bool{}
	each(func(f *flag.Flag) { known[envName(f.Name)] = true })
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
