package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// reader collects every bad value instead of stopping at the first: who sets
// ten variables wants to hear of all that are wrong.
type reader struct {
	set     *flag.FlagSet
	errs    []error
	note    func(name, text, origin string) // each value that is set
	flagged map[string]bool                 // set by a flag; the others by a variable
	place   string                          // where in the file we are; empty: not there yet
}

// value is a flag.Value that never fails: what is wrong goes to the reader.
type value struct {
	r     *reader
	name  string
	parse func(string) error
	def   string
}

func (v *value) String() string { return v.def }

func (v *value) Set(text string) error {
	origin, place := v.r.place, v.r.place
	switch {
	case place != "":
	case v.r.flagged[v.name]:
		origin, place = originFlag, envName(v.name)
	default:
		origin, place = envName(v.name), envName(v.name)
	}
	v.r.note(v.name, text, origin)
	if err := v.parse(text); err != nil {
		v.r.errs = append(v.r.errs, fmt.Errorf("%s (%s): %w", v.name, place, err))
	}
	return nil
}

// Origins of a value, beside the name of a variable and a line of the file.
const (
	originFlag    = "flag"
	originDefault = "default"
)

// IsBoolFlag lets a switch stand without a value.
func (v *value) IsBoolFlag() bool { return v.def == "true" || v.def == "false" }

// oldNames are variables that keep the names they had before DAEMON_.
var oldNames = map[string]string{
	"custom-preupgrade":    "COSMOVISOR_CUSTOM_PREUPGRADE",
	"unsafe-skip-backup":   "UNSAFE_SKIP_BACKUP",
	"unsafe-skip-checksum": "UNSAFE_SKIP_CHECKSUM",
	"validator-mode":       "VALIDATOR_MODE",
}

func envName(flag string) string {
	if old, ok := oldNames[flag]; ok {
		return old
	}
	return "DAEMON_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func (r *reader) add(name, def, usage string, parse func(string) error) {
	if def != "" {
		_ = parse(def)
	}
	r.set.Var(&value{r, name, parse, def}, name, usage)
}

func (r *reader) text(to *string, name, def, usage string) {
	r.add(name, def, usage, func(s string) error { *to = s; return nil })
}

func (r *reader) word(to *string, name, def, usage string, words ...string) {
	r.add(name, def, usage, func(s string) error {
		if !slices.Contains(words, s) {
			return fmt.Errorf("%q is none of %s", s, strings.Join(words, ", "))
		}
		*to = s
		return nil
	})
}

func (r *reader) truth(to *bool, name string, def bool, usage string) {
	r.add(name, strconv.FormatBool(def), usage, func(s string) error {
		switch strings.ToLower(s) { // no 1, t or yes: who writes those may mean a count, or a typo
		case "true":
			*to = true
		case "false":
			*to = false
		default:
			return fmt.Errorf("%q is neither true nor false", s)
		}
		return nil
	})
}

func (r *reader) count(to *int, name string, def int, usage string) {
	r.add(name, strconv.Itoa(def), usage, func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is no whole number from 0 up", s)
		}
		*to = n
		return nil
	})
}

func (r *reader) percent(to *float64, name string, def float64, usage string) {
	r.add(name, strconv.FormatFloat(def, 'g', -1, 64)+"%", usage, func(s string) error {
		f, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
		if err != nil || !(f >= 0 && f <= 100) { // not NaN either
			return fmt.Errorf("%q is no share from 0%% to 100%%", s)
		}
		*to = f
		return nil
	})
}

func (r *reader) duration(to *time.Duration, name string, def, least time.Duration, usage string) {
	r.add(name, def.String(), usage, func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("%q is no duration such as 30s or 5m", s)
		}
		if d < least {
			return fmt.Errorf("%q is less than %s", s, least)
		}
		*to = d
		return nil
	})
}

// environment takes from variables what no flag has set; an empty one counts as
// not set.
func (r *reader) environment() {
	r.set.VisitAll(func(f *flag.Flag) {
		if text := os.Getenv(envName(f.Name)); text != "" && !r.flagged[f.Name] {
			_ = r.set.Set(f.Name, text) // what is wrong is in errs
		}
	})
}

// file takes from the configuration file what neither flag nor variable has set,
// and reports unknown keys like bad values.
func (r *reader) file(text *document) {
	set := map[string]bool{}
	r.set.Visit(func(f *flag.Flag) { set[f.Name] = true })
	pairs, err := text.pairs()
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("%s: %w", text.name, err))
		return
	}
	for _, pair := range pairs {
		r.place = fmt.Sprintf("%s:%d", text.name, text.line(pair.key))
		switch {
		case r.set.Lookup(pair.key) == nil || pair.key == "config":
			r.errs = append(r.errs, fmt.Errorf("%s: unknown key %q", r.place, pair.key))
		case !set[pair.key]:
			_ = r.set.Set(pair.key, pair.value) // what is wrong is in errs
		}
	}
	r.place = ""
}

// join makes one line of many errors.
func join(errs []error) error {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}
