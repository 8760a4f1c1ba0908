package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
)

// choice is a setting that a network or role wants, and why.
type choice struct{ key, value, why string }

// Real nodes write their state for minutes when they stop.
var patientStop = choice{"shutdown-grace", "5m", "real nodes need minutes; give the runtime at least 5m30s"}

// templates are the networks and roles there is a file for.
var templates = map[string][]choice{
	"mainnet": {{"network", "mainnet", ""}, patientStop},
	"testnet": {{"network", "testnet", ""}, patientStop},
	"devnet": {
		{"network", "devnet", ""},
		patientStop,
		{"ready-max-head-age", "0s", "a development chain may seal only when there is something to seal"},
	},
	"validator": {
		{"network", "mainnet", ""},
		patientStop,
		{"validator-mode", "true", "before every planned stop wait until the network can do without this validator"},
		{"gate-downtime", "1m", "alike in the whole network: it makes the turns"},
		{"on-exit-zero", "restart", "these nodes end with 0 when the disk is nearly full; a validator comes back"},
		{"live-max-rpc-silence", "0s", "a validator that seals and does not answer is better left alone"},
		{"ready-min-peers", "1", "alone it seals nothing"},
	},
	"archive": {
		{"network", "mainnet", ""},
		{"shutdown-grace", "10m", "an archive has more to write; give the runtime at least 10m30s"},
		{"live-max-rpc-silence", "15m", "heavy questions keep it from answering"},
		{"ready-min-peers", "1", ""},
	},
	"rpc": {
		{"network", "mainnet", ""},
		patientStop,
		{"on-exit-zero", "restart", "a node that serves others comes back"},
		{"ready-max-head-age", "30s", "no traffic for a node that is behind"},
		{"ready-max-lag", "3", ""},
		{"ready-min-peers", "3", ""},
	},
}

// template is a file in which every setting stands as a comment, save those
// that are chosen.
func template(choices []choice) string {
	var b strings.Builder
	b.WriteString("# wemixvisor's settings. A flag wins over an environment variable, which wins\n# over this file.\n")
	each(func(f *flag.Flag) {
		if f.Name == "config" || f.Name == "home" { // they say where this file is
			return
		}
		_, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(&b, "\n# %s\n", usage)
		i := slices.IndexFunc(choices, func(c choice) bool { return c.key == f.Name })
		if i < 0 {
			fmt.Fprintf(&b, "# %s = %s\n", f.Name, quoted(f.DefValue))
			return
		}
		if choices[i].why != "" {
			fmt.Fprintf(&b, "# Here: %s.\n", choices[i].why)
		}
		fmt.Fprintf(&b, "%s = %s\n", f.Name, quoted(choices[i].value))
	})
	return b.String()
}

// printTemplate prints the file of a network or role.
func printTemplate(_ context.Context, _ *settings, args []string) error {
	args, err := flags(flag.NewFlagSet("config template", flag.ContinueOnError), args)
	if err != nil {
		return err
	}
	if len(args) == 1 {
		if choices, ok := templates[args[0]]; ok {
			fmt.Print(template(choices))
			return nil
		}
	}
	return usageError{errors.New("config template: one of mainnet, testnet, devnet, validator, archive, rpc")}
}

// writeTemplate writes a configuration file in which nothing is chosen, unless
// there is a file already.
func writeTemplate(file string) error {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := renameio.WriteFile(file, []byte(template(nil)), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}
