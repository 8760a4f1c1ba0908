package main

import (
	"context"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/upgrade"
)

// custodyAfter is how long a node may take to open its databases before we say
// that it works in another folder than ours.
const custodyAfter = 15 * time.Second

// watchCustody tells when the node does not work in the data directory: nobody
// may believe that an empty folder is being protected.
func watchCustody(logger log.Logger, sup *supervisor.Supervisor, data string) func(context.Context) error {
	return func(ctx context.Context) error {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		judged := 0 // the process the verdict is about
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
			st := sup.Status()
			if st.State != supervisor.Running || st.Pid == judged {
				continue
			}
			if upgrade.Holds(st.Pid, data) {
				judged = st.Pid
			} else if time.Since(st.Started) > custodyAfter {
				judged = st.Pid
				level.Warn(logger).Log("msg", "the node holds no LOCK below data-dir: it works elsewhere, and that is not protected; set data-dir or the node's --datadir", "data_dir", data)
			}
		}
	}
}
