package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/upgrade"
)

// examinations are doctor's lines in their order. Each looks and changes
// nothing, with a supervisor beside it and without one.
var examinations = []examination{
	{"user", examineUser},
	{"settings", examineSettings},
	{"home", examineHome},
	{"data-dir", examineDataDir},
	{"backups", examineBackups},
	{"archives", examineArchives},
	{"snapshots", examineSnapshots},
	{"ownership", examineOwnership},
	{"space", examineSpace},
	{"file-system", examineFileSystem},
	{"clock", examineClock},
	{"link", examineLink},
	{"upgrades", examineUpgrades},
	{"supervisor", examineSupervisor},
	{"custody", examineCustody},
	{"rpc", examineRPC},
	{"probes", examineProbes},
	{"health", examineHealth},
	{"alerts", examineAlerts},
	{"grace", examineGrace},
}

// examination is one thing doctor looks at.
type examination struct {
	name string
	look func(context.Context, *patient) []finding
}

// patient is what all examinations know.
type patient struct {
	s      *settings
	home   upgrade.Home
	status *api.Status // what the supervisor says; nil when none answers
	err    error       // why none does
}

// running reports whether a supervisor answers and its node has a process.
func (p *patient) running() bool { return p.status != nil && p.status.PID != 0 }

// The levels of a finding. Red is what keeps the node from working or its data
// from being protected.
const (
	levelOK   = "ok"
	levelWarn = "warn"
	levelRed  = "red"
)

// finding is one line of doctor.
type finding struct {
	Name  string `json:"name"`
	Level string `json:"level"`
	What  string `json:"what"`
	Next  string `json:"next"` // the next step; empty where there is none to take

	last bool // whatever would follow could only mislead
}

func ok(format string, values ...any) finding {
	return finding{Level: levelOK, What: fmt.Sprintf(format, values...)}
}

// warn and red say what is wrong, and the next step.
func warn(what, next string) finding { return finding{Level: levelWarn, What: what, Next: next} }
func red(what, next string) finding  { return finding{Level: levelRed, What: what, Next: next} }

// examinationTime is what one examination may take: a file system whose server
// is gone does not answer, and must not keep the others from being looked at.
const examinationTime = 10 * time.Second

// doctor looks at everything the node's life depends on.
func doctor(ctx context.Context, s *settings, args []string) error {
	raw, err := only("doctor", args)
	if err != nil {
		return err
	}
	findings := examine(ctx, s)
	if raw {
		err = printJSON(findings)
	} else {
		err = report(os.Stdout, findings)
	}
	for _, f := range findings {
		if f.Level == levelRed && err == nil {
			return quiet(exitFailed)
		}
	}
	return err
}

// examine runs all examinations.
func examine(ctx context.Context, s *settings) []finding {
	p := &patient{s: s, home: upgrade.Home{Root: s.home, Name: s.name}}
	asking, cancel := context.WithTimeout(ctx, examinationTime)
	defer cancel()
	var st api.Status
	if p.err = api.NewClient(s.controlSocket).Get(asking, "status", &st); p.err == nil {
		p.status = &st
	}
	var findings []finding
	for _, e := range examinations {
		for _, f := range e.within(ctx, p, examinationTime) {
			f.Name = e.name
			findings = append(findings, f)
			if f.last {
				return findings
			}
		}
	}
	return findings
}

func (e examination) within(ctx context.Context, p *patient, limit time.Duration) []finding {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	found := make(chan []finding, 1)        // room for one nobody waits for any more
	go func() { found <- e.look(ctx, p) }() // received below, unless it hangs in the kernel
	select {
	case f := <-found:
		return f
	case <-time.After(limit + time.Second): // it sees its context first
	}
	return []finding{red("no answer for "+limit.String(), "a file system hangs: look at its server, or at dmesg")}
}

// report prints a line for each finding.
func report(w io.Writer, findings []finding) error {
	var errs []error
	for _, f := range findings {
		next := ""
		if f.Next != "" {
			next = "; " + f.Next
		}
		_, err := fmt.Fprintf(w, "[%s] %s: %s%s\n", f.Level, f.Name, f.What, next)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
