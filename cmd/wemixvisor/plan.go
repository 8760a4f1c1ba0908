package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/upgrade"
)

// plans are the commands about plans of several upgrades.
func plans(ctx context.Context, s *settings, args []string) error {
	v, args, err := pick("plan", args,
		verb{"add", addPlan}, verb{"list", listPlans}, verb{"show", showPlan}, verb{"validate", validatePlan}, verb{"remove", removePlan})
	if err != nil {
		return err
	}
	return v.do(ctx, s, args)
}

// planMax is the largest file of a plan that is read; the queue reads no larger one.
const planMax = 1 << 20

// readPlan reads a batch plan: ours, or cosmovisor's JSON or CSV, which have the
// file's name. Paths in a CSV are relative to it.
func readPlan(file string) (b api.Batch, err error) {
	f, err := os.Open(file)
	if err != nil {
		return b, usageError{fmt.Errorf("read plan: %w", err)}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, planMax+1))
	if err != nil {
		return b, usageError{fmt.Errorf("read plan: %w", err)}
	}
	if len(text) > planMax {
		return b, usageError{fmt.Errorf("read plan %s: larger than %d bytes", file, planMax)}
	}
	var unknown []string
	if start := bytes.TrimSpace(text); bytes.HasPrefix(start, []byte("{")) || bytes.HasPrefix(start, []byte("[")) {
		b.Batch, unknown, err = upgrade.DecodeBatch(text)
	} else {
		b.Batch, b.Binaries, err = upgrade.DecodeCSV(text)
	}
	if err != nil {
		return b, fmt.Errorf("read plan %s: %w", file, err)
	}
	for _, field := range unknown {
		fmt.Fprintf(os.Stderr, "wemixvisor: %s: field %q means nothing here; taken without it\n", file, field)
	}
	for name, binary := range b.Binaries {
		if !filepath.IsAbs(binary) {
			binary = filepath.Join(filepath.Dir(file), binary)
		}
		if b.Binaries[name], err = filepath.Abs(binary); err != nil {
			return b, err
		}
		if err := upgrade.Runnable(binary); err != nil {
			return b, fmt.Errorf("read plan %s: upgrade %s: %w", file, name, err)
		}
	}
	if b.Name == "" {
		b.Name, _, _ = strings.Cut(filepath.Base(file), ".")
	}
	if err := upgrade.ValidName(b.Name); err != nil {
		return b, usageError{fmt.Errorf("read plan %s: %w", file, err)}
	}
	return b, nil
}

// addPlan files a batch plan.
func addPlan(ctx context.Context, s *settings, args []string) error {
	file, raw, err := single("plan add", "the file of a batch plan", args)
	if err != nil {
		return err
	}
	b, err := readPlan(file)
	if err != nil {
		return err
	}
	var filed upgrade.Batch
	err = api.NewClient(s.controlSocket).Post(ctx, "plans", b, &filed)
	if errors.Is(err, api.ErrNotRunning) {
		home := upgrade.Home{Root: s.home, Name: s.name}
		err = offline(ctx, s, func(*upgrade.Upgrader) error {
			if err := home.FileBatch(b.Batch, b.Binaries); err != nil {
				return err
			}
			filed, err = home.Batch(b.Name)
			return err
		})
	}
	if err != nil {
		return err
	}
	if raw {
		return printJSON(filed)
	}
	fmt.Printf("plan %s with %d upgrades is filed; see: wemixvisor upgrade list\n", filed.Name, len(filed.Upgrades))
	return nil
}

// listPlans prints the batch plans of the volume: they are its files, whoever
// supervises it.
func listPlans(_ context.Context, s *settings, args []string) error {
	raw, err := only("plan list", args)
	if err != nil {
		return err
	}
	all, broken := upgrade.Home{Root: s.home, Name: s.name}.Batches()
	if raw {
		return errors.Join(printJSON(append([]upgrade.Batch{}, all...)), broken)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tUPGRADES\tFROM\tTO\tDESCRIPTION")
	for _, b := range all {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\n", b.Name, len(b.Upgrades), b.Upgrades[0].Height, b.Upgrades[len(b.Upgrades)-1].Height, b.Description)
	}
	return errors.Join(w.Flush(), broken)
}

func showPlan(_ context.Context, s *settings, args []string) error {
	name, raw, err := single("plan show", "the name of a batch plan", args)
	if err != nil {
		return err
	}
	b, err := upgrade.Home{Root: s.home, Name: s.name}.Batch(name)
	if err != nil {
		return err
	}
	if raw {
		return printJSON(b)
	}
	return printPlan(b)
}

func printPlan(b upgrade.Batch) error {
	fmt.Printf("%s %s\n", b.Name, b.Description)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tHEIGHT\tNOT BEFORE\tBINARY")
	for _, p := range b.Upgrades {
		when := ""
		if !p.Time.IsZero() {
			when = p.Time.Format(time.RFC3339)
		}
		address, _ := p.Info.Here()
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", p.Name, p.Height, when, address)
	}
	return w.Flush()
}

// validatePlan says what is wrong with a file, or what it says.
func validatePlan(_ context.Context, _ *settings, args []string) error {
	file, raw, err := single("plan validate", "the file of a batch plan", args)
	if err != nil {
		return err
	}
	b, err := readPlan(file)
	if err != nil {
		return err
	}
	if raw {
		return printJSON(b.Batch)
	}
	return printPlan(b.Batch)
}

func removePlan(ctx context.Context, s *settings, args []string) error {
	name, raw, err := single("plan remove", "the name of a batch plan", args)
	if err != nil {
		return err
	}
	if err := upgrade.ValidName(name); err != nil { // it becomes a path
		return usageError{err}
	}
	gone := api.Removed{Name: name}
	err = api.NewClient(s.controlSocket).Delete(ctx, "plans/"+name, &gone)
	if errors.Is(err, api.ErrNotRunning) {
		err = offline(ctx, s, func(*upgrade.Upgrader) error {
			return upgrade.Home{Root: s.home, Name: s.name}.RemoveBatch(name)
		})
	}
	if err != nil {
		return err
	}
	if raw {
		return printJSON(gone)
	}
	fmt.Printf("plan %s is removed; what of it was pending is cancelled\n", name)
	return nil
}
