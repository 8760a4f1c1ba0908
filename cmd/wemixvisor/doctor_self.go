package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/wemix/wemixvisor/cmd/internal/api"
)

// examineUser looks whether we are the user that the supervisor is. Somebody
// else's rights say nothing of its own, and whoever then does what we advise
// takes the volume away from it.
func examineUser(_ context.Context, p *patient) []finding {
	me := os.Geteuid()
	var st syscall.Stat_t // its socket is made anew at each start
	if p.home.Held() && syscall.Stat(p.s.controlSocket, &st) == nil && int(st.Uid) != me {
		f := red(fmt.Sprintf("we are user %d, and the supervisor of %s is user %d: what we see is not what it sees", me, p.s.home, st.Uid),
			fmt.Sprintf("ask as that one: docker exec -u %d CONTAINER wemixvisor doctor", st.Uid))
		f.last = true
		return []finding{f}
	}
	return []finding{ok("%d:%d", me, os.Getegid())}
}

func examineSettings(_ context.Context, p *patient) []finding {
	var findings []finding
	for _, name := range p.s.warnings {
		findings = append(findings, warn("unknown variable "+name+"; it sets nothing", "the names are in: wemixvisor -h"))
	}
	if len(findings) == 0 {
		return []finding{ok("no mistakes")}
	}
	return findings
}

// examineSupervisor looks at who has the volume, and whether people reach it.
func examineSupervisor(_ context.Context, p *patient) []finding {
	held := p.home.Held()
	switch {
	case p.status != nil:
		findings := []finding{ok("answers on %s; the node is %s", p.s.controlSocket, p.status.State)}
		if info, err := os.Stat(p.s.controlSocket); err == nil && info.Mode().Perm()&0o077 != 0 {
			findings = append(findings, red(fmt.Sprintf("the control socket is open to others (%s)", info.Mode().Perm()), "chmod 600 "+p.s.controlSocket))
		}
		return findings
	case held && errors.Is(p.err, api.ErrNotRunning):
		return []finding{red("a supervisor has "+p.s.home+", and "+p.err.Error(), "ask with the same control-socket as that one; its log says where it is")}
	case held, !errors.Is(p.err, api.ErrNotRunning):
		return []finding{red(p.err.Error(), "is it another user's supervisor? look at its log")}
	}
	return []finding{ok("none runs on %s", p.s.home)}
}

// examineProbes asks the probe listener, or looks whether its port is free.
func examineProbes(ctx context.Context, p *patient) []finding {
	if p.s.probeAddress == "off" {
		return []finding{warn("off: no orchestrator can ask how the node is", "set probe-address")}
	}
	if p.status == nil {
		ln, err := net.Listen("tcp", p.s.probeAddress)
		switch {
		case err == nil:
			_ = ln.Close()
			return []finding{ok("%s is free", p.s.probeAddress)}
		case errors.Is(err, syscall.EADDRINUSE) && p.home.Held():
			return []finding{ok("%s is in use, by the supervisor that has the volume", p.s.probeAddress)}
		case errors.Is(err, syscall.EADDRINUSE):
			return []finding{red(p.s.probeAddress+" is another program's", "free the port, or set probe-address")}
		}
		return []finding{red(fmt.Sprintf("%s: %v", p.s.probeAddress, err), "set probe-address")}
	}
	began := time.Now()
	code, text, err := question(ctx, p.s.probeAddress, "/livez")
	switch {
	case err != nil:
		return []finding{red(fmt.Sprintf("no answer on %s: %s", p.s.probeAddress, brief(err)), "is probe-address the same here as for the supervisor? its log says what became of the listener")}
	case code != http.StatusOK:
		return []finding{red("not live: "+text, "an orchestrator kills the container for this")}
	}
	return []finding{ok("live, answered on %s in %s", p.s.probeAddress, time.Since(began).Round(100*time.Microsecond))}
}

// examineAlerts says whether anybody is told. Whether a channel takes a message,
// only a message can tell.
func examineAlerts(_ context.Context, p *patient) []finding {
	if len(p.s.alertURLs) == 0 {
		return []finding{ok("no channel is set: people see alerts in status and metrics alone; to be told, set alert-urls")}
	}
	return []finding{ok("%d channels are set; try them: wemixvisor alert test", len(p.s.alertURLs))}
}

// examineGrace says what only the operator can look at: no runtime tells a
// container how long it will wait.
func examineGrace(_ context.Context, p *patient) []finding {
	const short, usual = time.Minute, 5 * time.Minute
	what := fmt.Sprintf("shutdown-grace is %s", p.s.shutdownGrace)
	if p.s.shutdownGrace < short {
		return []finding{warn(what+", and real nodes need minutes to write their state", fmt.Sprintf("set it to %s; then %s", usual, patienceFor(usual)))}
	}
	return []finding{ok("%s; %s", what, patienceFor(p.s.shutdownGrace))}
}

// patienceFor says what a grace asks of whoever runs the container.
func patienceFor(grace time.Duration) string {
	limit := grace + 30*time.Second // for the sweep of what is left, and for us
	return fmt.Sprintf("the runtime must wait %s or longer before it kills: docker stop -t %.0f, stop_grace_period: %s, terminationGracePeriodSeconds: %.0f",
		limit, limit.Seconds(), limit, limit.Seconds())
}
