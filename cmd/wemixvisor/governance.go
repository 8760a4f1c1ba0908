package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/upgrade/governance"
)

// govern tells what the follower of a network's votes sees.
func govern(ctx context.Context, s *settings, args []string) error {
	args, raw, err := jsonOr("governance", args)
	if err != nil {
		return err
	}
	if len(args) != 1 || args[0] != "status" {
		return usageError{errors.New("governance: want governance status [--json]")}
	}
	var st governance.Status
	if err := api.NewClient(s.controlSocket).Get(ctx, "governance", &st); err != nil {
		return err
	}
	if raw {
		return printJSON(st)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "state\t%s\n", strings.TrimSpace(st.State+" "+st.Reason))
	if st.State != governance.Off {
		fmt.Fprintf(w, "source\t%s %s, %d confirmations\n", st.Source, st.Contract, st.Confirmations)
		fmt.Fprintf(w, "blocks\thead %d, looked at up to %d\n", st.Head, st.Scanned)
	}
	for _, p := range st.Proposals {
		plan := ""
		if p.Plan != nil {
			plan = fmt.Sprintf("%s at height %d ", p.Plan.Name, p.Plan.Height)
		}
		fmt.Fprintf(w, "proposal %s\t%s %s%s\n", p.ID, p.Stage, plan, p.Reason)
	}
	return w.Flush()
}
