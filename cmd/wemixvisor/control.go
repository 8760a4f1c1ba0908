package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/wemix/wemixvisor/cmd/internal/api"
)

// lasting is what a reply adds: an operator must not believe that the next
// container start remembers.
const lasting = "until the supervisor itself is restarted"

func stop(ctx context.Context, s *settings, args []string) error {
	set := flag.NewFlagSet("stop", flag.ContinueOnError)
	force := set.Bool("force", false, "")
	args, err := flags(set, args)
	if err != nil {
		return err
	}
	if err := none("stop", args); err != nil {
		return err
	}
	res, err := patiently(ctx, api.NewClient(s.controlSocket), "node/stop", api.Action{Force: *force})
	if err != nil {
		return err
	}
	if res.Ending {
		fmt.Println("node stopped; its supervisor ends too")
		return nil
	}
	fmt.Println("node stopped; it stays down until: wemixvisor start, or " + lasting)
	return nil
}

func restart(ctx context.Context, s *settings, args []string) error {
	args = passed(args)
	res, err := patiently(ctx, api.NewClient(s.controlSocket), "node/restart", api.Action{Args: args})
	if err != nil {
		return err
	}
	fmt.Printf("node restarted, pid %d", res.PID)
	if len(args) > 0 {
		fmt.Printf("; it keeps these arguments " + lasting)
	}
	fmt.Println()
	return nil
}

// patiently has the supervisor stop the node for something planned, and says what it
// waits for while it does: that may take as long as gate-timeout.
func patiently(ctx context.Context, c *api.Client, route string, a api.Action) (api.Result, error) {
	type outcome struct {
		api.Result
		error
	}
	done := make(chan outcome, 1)
	go func() { // ends with the answer, or with ctx
		res, err := c.Act(ctx, route, a)
		done <- outcome{res, err}
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	told := ""
	for {
		select {
		case o := <-done:
			return o.Result, o.error
		case <-tick.C:
		}
		var st api.Status
		if a.Force || c.Get(ctx, "status", &st) != nil || st.Gate == nil || st.Gate.Reason == told {
			continue
		}
		told = st.Gate.Reason
		fmt.Fprintf(os.Stderr, "wemixvisor: waiting: %s (Ctrl-C gives up; wemixvisor stop --force does not wait)\n", told)
	}
}

// role is what the node is in its network.
func role(c *api.Consensus) string {
	switch {
	case !c.IsValidator:
		return "this node is none of them"
	case c.IsActive:
		return "this node does"
	}
	return "this node does not"
}

func status(ctx context.Context, s *settings, args []string) error {
	raw, err := only("status", args)
	if err != nil {
		return err
	}
	var st api.Status
	if err := api.NewClient(s.controlSocket).Get(ctx, "status", &st); err != nil {
		return err
	}
	if raw {
		return printJSON(st)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	line := func(key, format string, values ...any) {
		fmt.Fprintf(w, "%s\t%s\n", key, strings.TrimSpace(fmt.Sprintf(format, values...)))
	}
	line("state", "%s %s", st.State, st.Reason)
	if c := st.Change; c != nil {
		line("change", "%s %s: %s since %s", c.Kind, c.Name, c.Stage, c.Since.Format(time.RFC3339))
	}
	if g := st.Gate; g != nil {
		line("gate", "a stop waits since %s: %s", g.Since.Format(time.RFC3339), g.Reason)
	}
	line("node", "pid %d, up %s, %d restarts", st.PID, st.Uptime, st.RestartCount)
	line("binary", "%s %s", st.Binary, st.Version)
	line("chain", "%s height %d, head age %s, %d peers", st.Node.Client, st.Node.Height, st.Node.HeadAge, st.Node.Peers)
	if c := st.Consensus; c != nil {
		line("consensus", "%s: %d of %d validators seal, quorum %d; %s", c.Kind, c.Active, c.Validators, c.Quorum, role(c))
	}
	for _, u := range st.Pending {
		line("pending", "%s at %d, %s %s", u.Name, u.Height, u.Stage, u.Reason)
	}
	if d := st.Download; d != nil {
		line("download", "%s: %s of %s", d.Name, size(d.Done), size(d.Total))
	}
	line("backup", "%s", backupState(st.Backup))
	if e := st.LastExit; e != nil {
		line("last exit", "%s at %s: %s", e.Text, e.At.Format(time.RFC3339), e.LastOutput)
	}
	for _, name := range healthOrder {
		if c, ok := st.Health.Checks[name]; ok && !c.Healthy {
			line("unhealthy", "%s: %s", name, c.Error)
		}
	}
	for _, a := range st.Alerts {
		if a.Firing() {
			line("alert", "%s (%s) since %s: %s", a.Name, a.Severity, a.Since.Format(time.RFC3339), a.Summary)
		}
	}
	return w.Flush()
}

// backupState tells what is being done, or what there is.
func backupState(b api.BackupState) string {
	switch j := b.Running; {
	case j != nil && j.Total > 0:
		return fmt.Sprintf("%s: %s, %s of %s, since %s", j.Kind, j.Stage, size(j.Done), size(j.Total), j.Since.Format(time.RFC3339))
	case j != nil:
		return fmt.Sprintf("%s: %s, since %s", j.Kind, j.Stage, j.Since.Format(time.RFC3339))
	case b.Last == nil:
		return "none"
	case b.LastVerified == nil:
		return *b.Last + ", not verified"
	case *b.LastVerified != *b.Last:
		return *b.Last + ", not verified; the last verified one is " + *b.LastVerified
	}
	return *b.Last + ", verified"
}

// healthOrder is how people read the checks: cause before consequence.
var healthOrder = []string{"process", "rpc_endpoint", "sync", "network", "memory", "disk"}

func logs(ctx context.Context, s *settings, args []string) error {
	set := flag.NewFlagSet("logs", flag.ContinueOnError)
	follow := set.Bool("f", false, "")
	n := set.Int("n", -1, "")
	args, err := flags(set, args)
	if err != nil {
		return err
	}
	if err := none("logs", args); err != nil {
		return err
	}
	if *n < -1 {
		return usageError{fmt.Errorf("logs: -n %d is no whole number from 0 up", *n)}
	}
	err = api.NewClient(s.controlSocket).Logs(ctx, os.Stdout, *n, *follow)
	if errors.Is(err, api.ErrNotRunning) && s.logFile != "" {
		return past(s.logFile, *n)
	}
	if ctx.Err() != nil {
		return nil // Ctrl-C is how following ends
	}
	return err
}

// past prints the end of the log file when no supervisor can be asked.
func past(name string, n int) error {
	file, err := api.OpenLogFile(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if n < 0 {
		n = 1000
	}
	fmt.Fprintln(os.Stderr, "wemixvisor: no supervisor is running; this is the end of "+name)
	return file.Lines(os.Stdout, n)
}

func printJSON(v any) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", " ")
	return enc.Encode(v)
}
