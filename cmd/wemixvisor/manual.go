package main

import (
	"flag"
	"fmt"
	"strings"
)

// help prints what is said of a command, or of one of its verbs; of everything
// when it is empty.
func help(of string) error {
	if of == "" {
		fmt.Print(manual())
		return nil
	}
	text := usages(of)
	if text == "" {
		return usageError{fmt.Errorf("help: unknown command %q; see: wemixvisor -h", of)}
	}
	fmt.Print("usage: wemixvisor [flags] COMMAND [command flags] [args]\n\n" + text + "\nFlags of the program and exit codes: wemixvisor -h\n")
	return nil
}

// usages lists the ways to call a command that begin with these words.
func usages(of string) string {
	var b strings.Builder
	for _, c := range commands() {
		for _, u := range c.uses {
			call := c.name + " " + u.args
			if strings.HasPrefix(call+" ", of+" ") || of == "" {
				fmt.Fprintf(&b, "  %s\n      %s\n", call, u.about)
			}
		}
	}
	return b.String()
}

// manual is the text of -h.
func manual() string {
	var b strings.Builder
	b.WriteString(`wemixvisor: the init for blockchain nodes in containers

usage: wemixvisor [flags] COMMAND [command flags] [args]

Flags of the program come before the command. After run, start, restart and
exec everything belongs to the node or program, untouched.

Commands (each but those four also has --help):
`)
	b.WriteString(usages(""))
	b.WriteString("\nFlags, each also an environment variable and a key of the configuration file:\n")
	each(func(f *flag.Flag) {
		kind, usage := flag.UnquoteUsage(f)
		if kind != "" {
			kind = " " + kind
		}
		fmt.Fprintf(&b, "  --%s%s  %s\n      %s", f.Name, kind, envName(f.Name), usage)
		if f.DefValue != "" {
			fmt.Fprintf(&b, " (default %s)", f.DefValue)
		}
		b.WriteString("\n")
	})
	b.WriteString(`
Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 nothing is running,
4 busy or already running, 5 verification failed, 6 no space, 126 found but not
executable, 127 not found. run and exec end with the node's own code, 128+n when
it died of signal n.
`)
	return b.String()
}
