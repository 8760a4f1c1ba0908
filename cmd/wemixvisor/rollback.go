package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/wemix/wemixvisor/cmd/internal/api"
)

// rollback goes back to the binary before the present one.
func rollback(ctx context.Context, s *settings, args []string) error {
	set := flag.NewFlagSet("rollback", flag.ContinueOnError)
	data, raw := set.Bool("data", false, ""), set.Bool("json", false, "")
	args, err := flags(set, args)
	if err != nil {
		return err
	}
	if err := none("rollback", args); err != nil {
		return err
	}
	var now api.Current
	if err := api.NewClient(s.controlSocket).Post(ctx, "rollback", api.Return{Data: *data}, &now); err != nil {
		return err
	}
	if *raw {
		return printJSON(now)
	}
	what := "the binary"
	if *data {
		what = "binary and data"
	}
	fmt.Printf("rolled back %s: the node runs %s\n", what, now.Current)
	return nil
}
