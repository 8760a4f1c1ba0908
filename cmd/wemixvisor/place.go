package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	toml "github.com/pelletier/go-toml"
)

// place is what a node of the go-ethereum family can be told to keep elsewhere than it
// would, by a flag, or by a key in its configuration file.
type place struct{ flag, key string }

var (
	// oldStores hold old blocks.
	oldStores = []place{
		{"datadir.ancient", "DatabaseFreezer"},
		{"datadir.era", "DatabaseEra"}, // history that geth download-era has fetched
	}
	// identities are what must not exist twice.
	identities = []place{{"nodekey", ""}, {"keystore", "KeyStoreDir"}, {"authrpc.jwtsecret", "JWTSecret"}}
)

// ancients are the folders outside the data directory in which the node is told to
// keep old blocks: by its arguments, by geth's variable for them, or, where both are
// silent, by the configuration file that it is given. A relative path is below the
// data directory. A relative file is below dir; empty: where we stand.
func ancients(args, environ []string, dir string) []string {
	var dirs []string
	for _, folder := range told(oldStores, args, environ, dir) {
		if filepath.IsAbs(folder) {
			dirs = append(dirs, folder)
		}
	}
	return dirs
}

// told returns where the node is told to keep such things.
func told(places []place, args, environ []string, dir string) []string {
	var file string
	if files := setting("config", args, environ); len(files) > 0 {
		file = below(dir, files[0]) // a flag stands before the variable, and geth heeds the last
	}
	var all []string
	for _, p := range places {
		values := setting(p.flag, args, environ)
		for i, v := range values {
			values[i] = expand(v, environ)
		}
		if len(values) == 0 && file != "" && p.key != "" {
			values = configured(file, p.key)
		}
		all = append(all, values...)
	}
	return all
}

// below is where a path is for a process that stands in dir; empty: where we stand.
func below(dir, at string) string {
	if dir == "" || filepath.IsAbs(at) {
		return at
	}
	return filepath.Join(dir, at)
}

// expand does with the folder that a flag names what geth does, whom no shell need
// have helped.
func expand(folder string, environ []string) string {
	value := func(name string) string {
		for _, pair := range environ {
			if v, ok := strings.CutPrefix(pair, name+"="); ok {
				return v
			}
		}
		return ""
	}
	if rest, ok := strings.CutPrefix(folder, "~/"); ok {
		folder = filepath.Join(value("HOME"), rest)
	}
	return os.Expand(folder, value)
}

// setting returns what a node of the go-ethereum family is told of a flag: first what
// the last such argument says, then all else.
func setting(flag string, args, environ []string) []string {
	var values []string
	for i, arg := range args {
		name, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch {
		case name != flag || !strings.HasPrefix(arg, "-"):
		case joined:
			values = append([]string{value}, values...)
		case i+1 < len(args):
			values = append([]string{args[i+1]}, values...)
		}
	}
	variable := "GETH_" + strings.ToUpper(strings.ReplaceAll(flag, ".", "_")) + "="
	for _, pair := range environ {
		if value, ok := strings.CutPrefix(pair, variable); ok && value != "" {
			values = append(values, value)
		}
	}
	return values
}

// configured returns the folder that a node's configuration file names by a key. Of
// one that cannot be read there is none: the node does not start with it either.
func configured(file, key string) []string {
	d, err := load(file)
	if err != nil {
		return nil
	}
	tree, err := toml.LoadBytes(d.text)
	if err != nil {
		return nil
	}
	for _, section := range []string{"Eth", "Node"} { // geth writes it in Eth; forks have had it in either
		if folder, ok := tree.GetPath([]string{section, key}).(string); ok && folder != "" {
			return []string{folder}
		}
	}
	return nil
}

// cwd is where a process stands; empty for none.
func cwd(pid int) string {
	if pid == 0 {
		return ""
	}
	return fmt.Sprintf("/proc/%d/cwd", pid)
}
