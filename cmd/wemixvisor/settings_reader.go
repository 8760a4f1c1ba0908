package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/peterbourgon/ff/v3"
	"github.com/peterbourgon/ff/v3/fftoml"
)

// reader collects every bad value instead of stopping at the first: who sets
// ten variables wants to hear of all that are wrong.
type reader struct {
	set  *flag.FlagSet
	errs []error
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
	if err := v.parse(text); err != nil {
		v.r.errs = append(v.r.errs, fmt.Errorf("%s (%s): %w", v.name, envName(v.name), err))
	}
	return nil
}

// IsBoolFlag lets a switch stand without a value.
func (v *value) IsBoolFlag() bool { return v.def == "true" || v.def == "false" }

func envName(flag string) string {
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
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", s)
		}
		*to = b
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

// file parses the configuration file and reports unknown keys like bad values.
func (r *reader) file(name string) ff.ConfigFileParser {
	return func(in io.Reader, set func(name, value string) error) error {
		err := fftoml.Parser(in, func(key, value string) error {
			if r.set.Lookup(key) == nil || key == "config" {
				r.errs = append(r.errs, fmt.Errorf("%s: unknown key %q", name, key))
				return nil
			}
			return set(key, value)
		})
		if err != nil {
			r.errs = append(r.errs, fmt.Errorf("%s: %s", name, strings.ReplaceAll(err.Error(), "\n", " ")))
		}
		return nil
	}
}

// join makes one line of many errors.
func join(errs []error) error {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}
