package main

import (
	"fmt"
	"path/filepath"
	"strings"

	toml "github.com/pelletier/go-toml"
)

// ancients are the folders outside the data directory in which the node is told to
// keep old blocks: by its arguments, by geth's variable for them, or, where both are
// silent, by the configuration file that it is given. A relative path is below the
// data directory. A relative file is below dir; empty: where we stand.
func ancients(args, environ []string, dir string) []string {
	told := setting("datadir.ancient", args, environ)
	if len(told) == 0 {
		files := setting("config", args, environ)
		if len(files) == 0 {
			return nil
		}
		file := files[0] // a flag stands before the variable, and geth heeds the last
		if dir != "" && !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		told = freezerOf(file)
	}
	var dirs []string
	for _, folder := range told {
		if filepath.IsAbs(folder) {
			dirs = append(dirs, folder)
		}
	}
	return dirs
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

// freezerOf returns the ancient store that a node's configuration file names. One that
// cannot be read is none: the node does not start with it either.
func freezerOf(file string) []string {
	d, err := load(file)
	if err != nil {
		return nil
	}
	tree, err := toml.LoadBytes(d.text)
	if err != nil {
		return nil
	}
	for _, section := range []string{"Eth", "Node"} { // geth writes it in Eth; forks have had it in either
		if folder, ok := tree.GetPath([]string{section, "DatabaseFreezer"}).(string); ok && folder != "" {
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
