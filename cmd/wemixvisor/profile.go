package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"

	"github.com/google/renameio/v2"

	"github.com/wemix/wemixvisor/cmd/internal/api"
)

// profile takes one of the running supervisor, for go tool pprof or trace.
func profile(ctx context.Context, s *settings, args []string) error {
	set := flag.NewFlagSet("profile", flag.ContinueOnError)
	seconds, file := set.Uint("seconds", 0, ""), set.String("o", "", "")
	args, err := flags(set, args)
	if err != nil {
		return err
	}
	if len(args) != 1 || !slices.Contains([]string{"cpu", "heap", "goroutine", "trace"}, args[0]) {
		return usageError{fmt.Errorf("profile: one of cpu, heap, goroutine, trace")}
	}
	route := "profile/" + args[0]
	if *seconds > 0 {
		route += "?" + url.Values{"seconds": {strconv.FormatUint(uint64(*seconds), 10)}}.Encode()
	}
	client := api.NewClient(s.controlSocket)
	if *file == "-" {
		return client.Copy(ctx, os.Stdout, route)
	}
	if *file == "" {
		*file = "wemixvisor-" + args[0] + map[bool]string{true: ".out", false: ".pprof"}[args[0] == "trace"]
	}
	out, err := renameio.NewPendingFile(*file, renameio.WithPermissions(0o600))
	if err != nil {
		return fmt.Errorf("write profile: %w; name another place with -o FILE, or - for the standard output", err)
	}
	defer out.Cleanup()
	if err := client.Copy(ctx, out, route); err != nil {
		return err
	}
	if err := out.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	fmt.Printf("%s written; look at it with: go tool %s %s\n", *file, map[bool]string{true: "trace", false: "pprof"}[args[0] == "trace"], *file)
	return nil
}
