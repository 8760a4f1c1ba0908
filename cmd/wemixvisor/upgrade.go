package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/upgrade"
)

// upgrades are the commands about single upgrades.
func upgrades(ctx context.Context, s *settings, args []string) error {
	v, args, err := pick("upgrade", args,
		verb{"schedule", schedule}, verb{"list", listUpgrades}, verb{"status", upgradeStatus}, verb{"check", checkUpgrade},
		verb{"cancel", cancelUpgrade}, verb{"retry", retryUpgrade}, verb{"confirm", confirmUpgrade})
	if err != nil {
		return err
	}
	return v.do(ctx, s, args)
}

// listUpgrades prints every plan, pending ones first.
func listUpgrades(ctx context.Context, s *settings, args []string) error {
	raw, err := only("upgrade list", args)
	if err != nil {
		return err
	}
	all, err := entries(ctx, s)
	if err != nil {
		return err
	}
	if raw {
		return printJSON(all)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tHEIGHT\tSTAGE\tLEFT\tVERSION\tREASON")
	for _, e := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Name, heightOf(e), stageOf(e), left(e), e.Version, e.Reason)
	}
	return w.Flush()
}

// entries returns every plan, from the supervisor or from the volume.
func entries(ctx context.Context, s *settings) (all []upgrade.Entry, err error) {
	err = api.NewClient(s.controlSocket).Get(ctx, "upgrades", &all)
	if errors.Is(err, api.ErrNotRunning) {
		err = offline(ctx, s, func(u *upgrade.Upgrader) error { all = append([]upgrade.Entry{}, u.List()...); return nil })
	}
	return all, err
}

func heightOf(e upgrade.Entry) string {
	if e.Height == 0 {
		return "now"
	}
	return fmt.Sprint(e.Height)
}

func stageOf(e upgrade.Entry) string {
	if e.Held && e.Stage.Pending() {
		return string(e.Stage) + " (held)"
	}
	return string(e.Stage)
}

func left(e upgrade.Entry) string {
	switch {
	case e.BlocksLeft == 0:
		return ""
	case e.ETA == nil:
		return fmt.Sprintf("%d blocks", e.BlocksLeft)
	}
	return fmt.Sprintf("%d blocks, %s", e.BlocksLeft, time.Until(*e.ETA).Round(time.Second))
}

// upgradeStatus prints one upgrade in full, or the binary in use and all that
// is still to come.
func upgradeStatus(ctx context.Context, s *settings, args []string) error {
	args, raw, err := jsonOr("upgrade status", args)
	if err != nil {
		return err
	}
	if len(args) > 1 {
		return usageError{fmt.Errorf("upgrade status takes one name, not %d", len(args))}
	}
	all, err := entries(ctx, s)
	if err != nil {
		return err
	}
	if len(args) == 1 {
		for _, e := range all {
			if e.Name != args[0] {
				continue
			}
			if raw {
				return printJSON(e)
			}
			return describe(os.Stdout, e)
		}
		return fmt.Errorf("plan %s: %w; see: wemixvisor upgrade list", args[0], upgrade.ErrUnknown)
	}
	report := struct {
		Current string          `json:"current"`
		Plans   []upgrade.Entry `json:"plans"`   // that are not over
		Rollout *rollout        `json:"rollout"` // null: the node is no validator
	}{upgrade.Home{Root: s.home, Name: s.name}.Current(), []upgrade.Entry{}, rolloutOf(ctx, s)}
	for _, e := range all {
		if !e.Stage.Over() {
			report.Plans = append(report.Plans, e)
		}
	}
	if raw {
		return printJSON(report)
	}
	fmt.Println("current " + report.Current)
	if report.Rollout != nil {
		fmt.Println(report.Rollout)
	}
	if len(report.Plans) == 0 {
		fmt.Println("nothing is planned")
	}
	for _, e := range report.Plans {
		fmt.Println()
		if err := describe(os.Stdout, e); err != nil {
			return err
		}
	}
	return nil
}

func describe(to io.Writer, e upgrade.Entry) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	line := func(key, text string) {
		if text != "" {
			fmt.Fprintf(w, "%s\t%s\n", key, text)
		}
	}
	line("name", e.Name)
	line("height", heightOf(e))
	if !e.Time.IsZero() {
		line("not before", e.Time.Format(time.RFC3339))
	}
	line("stage", stageOf(e))
	line("reason", e.Reason)
	line("warning", e.Warning)
	line("left", left(e))
	line("binary", e.Binary)
	line("version", e.Version)
	line("sha256", e.SHA256)
	if sw := e.Switch; sw != nil {
		line("previous", sw.Previous)
		line("snapshot", sw.Snapshot)
		line("archive", sw.Archive)
		if d := sw.Downtime; d.Total() > 0 {
			line("downtime", fmt.Sprintf("%s: stop %s, snapshot %s, hooks %s, start %s", d.Total(), d.Stop, d.Snapshot, d.Hook, d.Start))
		}
	}
	for _, step := range e.Steps {
		line("  "+step.At.Format(time.RFC3339), string(step.Stage)+" "+step.Reason)
	}
	return w.Flush()
}

// checkUpgrade prints the preflight of a plan.
func checkUpgrade(ctx context.Context, s *settings, args []string) error {
	name, raw, err := single("upgrade check", "the name of an upgrade", args)
	if err != nil {
		return err
	}
	var checks []upgrade.Check
	if err := onUpgrade(ctx, s, name, "check", &checks); err != nil {
		return err
	}
	if raw {
		err = printJSON(checks)
	}
	for _, c := range checks {
		level := levelOK
		if !c.OK {
			level = levelRed
			if err == nil {
				err = quiet(exitFailed)
			}
		}
		if !raw {
			fmt.Printf("[%s] %s: %s\n", level, c.Name, c.Detail)
		}
	}
	return err
}

func cancelUpgrade(ctx context.Context, s *settings, args []string) error {
	return act(ctx, s, "cancel", args, (*upgrade.Upgrader).Cancel)
}

func retryUpgrade(ctx context.Context, s *settings, args []string) error {
	return act(ctx, s, "retry", args, (*upgrade.Upgrader).Retry)
}

func confirmUpgrade(ctx context.Context, s *settings, args []string) error {
	return act(ctx, s, "confirm", args, (*upgrade.Upgrader).Confirm)
}

// act does something about one plan, through the supervisor or on a volume that
// has none.
func act(ctx context.Context, s *settings, what string, args []string, do func(*upgrade.Upgrader, string) error) error {
	name, raw, err := single("upgrade "+what, "the name of an upgrade", args)
	if err != nil {
		return err
	}
	var e upgrade.Entry
	err = onUpgrade(ctx, s, name, what, &e)
	if errors.Is(err, api.ErrNotRunning) {
		err = offline(ctx, s, func(u *upgrade.Upgrader) (err error) {
			if err := do(u, name); err != nil {
				return err
			}
			e, err = u.Entry(name)
			return err
		})
	}
	if err != nil {
		return err
	}
	if raw {
		return printJSON(e)
	}
	fmt.Printf("plan %s is %s\n", e.Name, stageOf(e))
	return nil
}

// onUpgrade asks the supervisor to do something about one plan.
func onUpgrade(ctx context.Context, s *settings, name, what string, to any) error {
	if err := upgrade.ValidName(name); err != nil { // it becomes a path
		return usageError{err}
	}
	client := api.NewClient(s.controlSocket)
	if what == "cancel" {
		return client.Delete(ctx, "upgrades/"+name, to)
	}
	return client.Post(ctx, "upgrades/"+name+"/"+what, struct{}{}, to)
}
