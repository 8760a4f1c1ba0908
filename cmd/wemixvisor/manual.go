package main

import (
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"
)

// manual is the text of -h.
func manual() string {
	var b strings.Builder
	b.WriteString(`wemixvisor: the init for blockchain nodes in containers

usage: wemixvisor [flags] COMMAND [command flags] [args]

Flags of the program come before the command. After run, start, restart and
exec everything belongs to the node or program, untouched.

Commands:
`)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %s %s\t%s\n", c.name, c.args, c.about)
	}
	w.Flush()
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
