package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/upgrade"
)

// examineUpgrades looks at plans that are still to come: through the supervisor,
// which has looked at their binaries, or at the volume's files.
func examineUpgrades(ctx context.Context, p *patient) []finding {
	home := p.home
	if p.status == nil {
		return examinePlans(p, home)
	}
	var all []upgrade.Entry
	if err := api.NewClient(p.s.controlSocket).Get(ctx, "upgrades", &all); err != nil {
		return []finding{red("upgrades are not told: "+brief(err), "look at the supervisor's log")}
	}
	var findings []finding
	pending := 0
	for _, e := range all {
		switch {
		case e.Stage == upgrade.NotReady:
			findings = append(findings, red(fmt.Sprintf("plan %s is not ready: %s", e.Name, e.Reason), "see: wemixvisor upgrade check "+e.Name))
		case e.Held && e.Stage.Pending():
			findings = append(findings, warn(fmt.Sprintf("plan %s is held: %s", e.Name, e.Reason), "wemixvisor upgrade retry "+e.Name+", or cancel it"))
		case e.Stage == upgrade.Unconfirmed:
			findings = append(findings, warn(fmt.Sprintf("plan %s is unconfirmed: %s", e.Name, e.Reason), "wemixvisor upgrade confirm "+e.Name+", or: wemixvisor rollback"))
		}
		if e.Stage.Pending() {
			pending++
		}
	}
	for _, a := range p.status.Alerts {
		if a.Firing() && (a.Name == "journal" || a.Name == "journal_lost") {
			findings = append(findings, red(a.Summary, "see the supervisor's log"))
		}
	}
	if len(findings) == 0 {
		return []finding{ok("%d planned, all of them ready or being made so; journal in order", pending)}
	}
	return findings
}

// examinePlans reads journal and plan files of a volume that nobody supervises,
// and looks whether staged binaries could be started.
func examinePlans(p *patient, home upgrade.Home) []finding {
	var findings []finding
	if err := home.CheckJournal(); errors.Is(err, upgrade.ErrNewer) {
		findings = append(findings, red(err.Error(), ""))
	} else if err != nil {
		findings = append(findings, red(err.Error(), "run keeps the current binary, and old plans wait for: wemixvisor upgrade retry"))
	}
	filings, problems := upgrade.NewQueue(upgrade.QueueConfig{Home: home, Data: p.s.dataDir}).Look()
	for _, one := range problems {
		findings = append(findings, red(one.File+" is no plan: "+one.Reason, "mend or remove it"))
	}
	filings = home.Pending(filings)
	for _, f := range filings {
		file := home.Staged(f.Name)
		address, _ := f.Info.Here()
		if !exists(file) && address != "" && p.s.allowDownload {
			continue // it is fetched
		}
		if err := upgrade.Runnable(file); err != nil {
			findings = append(findings, red("plan "+f.Name+": "+err.Error(), "put the binary there, or name a URL in the plan"))
		}
	}
	if len(findings) == 0 {
		return []finding{ok("%d planned; journal in order", len(filings))}
	}
	return findings
}
