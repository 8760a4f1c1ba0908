package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wemix/wemixvisor/probe/chain"
	"github.com/wemix/wemixvisor/upgrade"
)

// examineLink follows the link to the node binary in use.
func examineLink(_ context.Context, p *patient) []finding {
	if !p.home.LaidOut() {
		file, err := bundled(p.s, nil)
		if err == nil {
			err = p.home.Check(file)
		}
		if err == nil && file != "" {
			err = upgrade.Runnable(file)
		}
		if err != nil {
			return []finding{red(err.Error(), "")}
		}
		return []finding{ok("the volume is empty; run lays it out from %s", file)}
	}
	file, err := p.home.Program()
	if err == nil {
		err = upgrade.Runnable(file)
	}
	if err != nil {
		return []finding{red(err.Error(), "point "+p.home.Dir()+"/current at a folder with bin/"+p.s.name+" for this machine")}
	}
	return []finding{ok("current names %s: %s can be started", p.home.Current(), file)}
}

// examineCustody tells whether the node works where we protect.
func examineCustody(_ context.Context, p *patient) []finding {
	if !p.running() {
		return []finding{ok("the node does not run: nothing to look at")}
	}
	if upgrade.Holds(p.status.PID, p.s.dataDir) {
		return []finding{ok("the node holds its LOCK below %s", p.s.dataDir)}
	}
	up, _ := time.ParseDuration(p.status.Uptime)
	if up < custodyAfter {
		return []finding{warn(fmt.Sprintf("the node has run for %s and holds no LOCK below %s yet", p.status.Uptime, p.s.dataDir), "look again in "+custodyAfter.String())}
	}
	return []finding{red("the node holds no LOCK below "+p.s.dataDir+": it works elsewhere, and that is not protected", "set data-dir or the node's --datadir")}
}

// rpcPatience is how long a node may take to open RPC before it is worth a red
// line: it loads its state first.
const rpcPatience = time.Minute

func (p *patient) ask(ctx context.Context) (chain.Facts, error) {
	ctx, cancel := context.WithTimeout(ctx, examinationTime/2)
	defer cancel()
	return chain.Ask(ctx, p.s.rpcAddress)
}

func examineRPC(ctx context.Context, p *patient) []finding {
	if err := chain.CheckAddress(p.s.rpcAddress); err != nil {
		return []finding{red(err.Error(), "set rpc-address")}
	}
	f, err := p.ask(ctx)
	at := chain.Redacted(p.s.rpcAddress)
	up := time.Duration(0)
	if p.running() {
		up, _ = time.ParseDuration(p.status.Uptime)
	}
	switch {
	case err == nil && p.status != nil && !p.running():
		return []finding{warn(fmt.Sprintf("%s answers at %s while our node is down: it is another one", f.Client, at), "free the port, or set rpc-address")}
	case err == nil:
		return []finding{ok("%s answers at %s: %s, chain id %d%s", f.Client, at, kind(f), f.ChainID, height(f))}
	case !p.running():
		return []finding{ok("nobody answers at %s, and no node runs", at)}
	case up < rpcPatience:
		return []finding{warn(fmt.Sprintf("no answer at %s yet, %s after the start: %s", at, p.status.Uptime, brief(err)), "look again in a minute")}
	}
	return []finding{red(fmt.Sprintf("no answer at %s: %s", at, brief(err)), "start the node with --http, or set rpc-address to its .ipc socket")}
}

func kind(f chain.Facts) string {
	if f.Version == "" {
		return f.Kind
	}
	return f.Kind + " " + f.Version
}

func height(f chain.Facts) string {
	if !f.HeadKnown {
		return "; its head is not known, --http.api lacks eth"
	}
	return fmt.Sprintf(", height %d", f.Head.Number)
}

// examineHealth repeats what the supervisor finds unhealthy. A node that is
// catching up is no case for a doctor, so that is a warning.
func examineHealth(_ context.Context, p *patient) []finding {
	switch {
	case p.status == nil:
		return []finding{ok("no supervisor answers: nobody looks at the node")}
	case !p.running():
		return []finding{ok("the node is %s: %s", p.status.State, p.status.Reason)}
	}
	var findings []finding
	for _, name := range healthOrder {
		if c, known := p.status.Health.Checks[name]; known && !c.Healthy {
			findings = append(findings, warn(name+": "+c.Error, "see: wemixvisor status"))
		}
	}
	if len(findings) == 0 {
		return []finding{ok("all checks pass")}
	}
	return findings
}

// brief is an error's text on one line.
func brief(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "it took too long"
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}
