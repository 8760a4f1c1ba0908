package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/peterbourgon/ff/v3"
	"github.com/peterbourgon/ff/v3/fftoml"

	supervisor "github.com/wemix/wemixvisor/init"
)

// settings holds every setting of the program: a flag, an environment variable
// and a key of the configuration file each. Nothing outside this package reads
// any of the three.
type settings struct {
	config string

	home          string
	name          string
	dataDir       string
	network       string
	controlSocket string
	lockTimeout   time.Duration

	shutdownGrace    time.Duration
	restartOnFailure bool
	onExitZero       string
	maxRestarts      int
	restartWindow    time.Duration
	signalMap        supervisor.SignalMap

	logFile   string
	logLevel  string
	logFormat string

	rpcAddress          string
	probeAddress        string
	healthCheckInterval time.Duration
	metricsInterval     time.Duration
	readyMaxHeadAge     time.Duration
	readyMinPeers       int
	readyMaxLag         int
	liveMaxRPCSilence   time.Duration

	warnings []string // said once the log is open
}

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

// define binds every setting to its flag. The usage texts are the manual: the
// README's table is checked against them.
func (r *reader) define(s *settings) {
	r.text(&s.config, "config", "", "configuration `file`: flat TOML, keys as the flags (default $DAEMON_HOME/wemixvisor/config.toml, if it exists)")
	r.text(&s.home, "home", "", "root of all state (default $HOME/.wemixd)")
	r.text(&s.name, "name", "wemixd", "file name of the node binary")
	r.text(&s.dataDir, "data-dir", "", "the node's data directory: what is protected (default $DAEMON_HOME/data)")
	r.text(&s.network, "network", "", "label for status and metrics: mainnet, testnet, devnet")
	r.text(&s.controlSocket, "control-socket", "", "`path` of the control socket, mode 0600 (default $DAEMON_HOME/wemixvisor/wemixvisor.sock)")
	r.duration(&s.lockTimeout, "lock-timeout", 10*time.Second, 0, "how long run waits for another supervisor on this home before it exits 4")
	r.duration(&s.shutdownGrace, "shutdown-grace", 30*time.Second, 0, "TERM, then this, then KILL; the runtime's own limit must be at least 30s longer")
	r.truth(&s.restartOnFailure, "restart-on-failure", true, "restart a node that exited with a failure")
	r.word(&s.onExitZero, "on-exit-zero", "exit", "what an unrequested exit 0 of the node means: exit or restart", "exit", "restart")
	r.count(&s.maxRestarts, "max-restarts", 5, "restarts within restart-window before the supervisor gives up")
	r.duration(&s.restartWindow, "restart-window", 10*time.Minute, time.Second, "window of max-restarts; a run that outlasts it resets the count")
	r.add("signal-map", "", "rewrite signals, `FROM=TO,...`; TO 0 drops: HUP=0,USR1=TERM", func(text string) (err error) {
		s.signalMap, err = supervisor.ParseSignalMap(text)
		return err
	})
	r.text(&s.logFile, "log-file", "", "the node's output also to this `file`, rotated at 100 MB, five old ones kept")
	r.word(&s.logLevel, "log-level", "info", "own log: debug, info, warn, error", "debug", "info", "warn", "error")
	r.word(&s.logFormat, "log-format", "logfmt", "own log: logfmt or json", "logfmt", "json")
	r.text(&s.rpcAddress, "rpc-address", "localhost:8545", "the node's RPC: host:port, http(s)://, ws(s)://, or an .ipc path")
	r.text(&s.probeAddress, "probe-address", ":9090", "listen address of probes and metrics; off")
	r.duration(&s.healthCheckInterval, "health-check-interval", 30*time.Second, time.Second, "how often disk, memory and peers are looked at")
	r.duration(&s.metricsInterval, "metrics-interval", 5*time.Second, time.Second, "how often process and volume figures are sampled")
	r.duration(&s.readyMaxHeadAge, "ready-max-head-age", time.Minute, 0, "not ready when the newest block is older; 0 does not look")
	r.count(&s.readyMinPeers, "ready-min-peers", 0, "not ready with fewer peers")
	r.count(&s.readyMaxLag, "ready-max-lag", 10, "not ready when further behind, in blocks")
	r.duration(&s.liveMaxRPCSilence, "live-max-rpc-silence", 5*time.Minute, 0, "not live when RPC answered once and then fell silent for longer; 0 does not look")
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

// join makes one line of many errors.
func join(errs []error) error {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, "; "))
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

// complete fills what depends on other settings.
func (s *settings) complete() error {
	if s.home == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			user = "/" // as container runtimes have it; exec needs none at all
		}
		s.home = filepath.Join(user, ".wemixd")
	}
	home, err := filepath.Abs(s.home)
	if err != nil {
		return fmt.Errorf("home %s: %w", s.home, err)
	}
	s.home = home
	if s.dataDir == "" {
		s.dataDir = filepath.Join(s.home, "data")
	}
	if s.controlSocket == "" {
		s.controlSocket = filepath.Join(s.home, "wemixvisor", "wemixvisor.sock")
	}
	if s.name == "" || strings.ContainsRune(s.name, '/') {
		return fmt.Errorf("name (DAEMON_NAME): %q is no file name", s.name)
	}
	return nil
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
