package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/upgrade"
)

// schedule files a plan and returns when it is prepared, or is not.
func schedule(ctx context.Context, s *settings, args []string) error {
	set := flag.NewFlagSet("upgrade schedule", flag.ContinueOnError)
	raw := set.Bool("json", false, "")
	o := api.Order{Wait: true}
	set.StringVar(&o.Binary, "binary", "", "")
	set.StringVar(&o.URL, "url", "", "")
	set.StringVar(&o.Checksum, "checksum", "", "")
	set.StringVar(&o.At, "at", "", "")
	set.BoolVar(&o.Force, "force", false, "")
	set.Func("time", "", func(text string) (err error) {
		if o.Time, err = time.Parse(time.RFC3339, text); err != nil {
			return errors.New("want a time like 2026-11-24T15:04:05Z")
		}
		return nil
	})
	args, err := flags(set, args)
	if err != nil {
		return err
	}
	if len(args) != 2 {
		return usageError{errors.New("upgrade schedule: want NAME HEIGHT; height 0 means now")}
	}
	o.Name = args[0]
	if o.Height, err = strconv.ParseUint(args[1], 10, 63); err != nil {
		return usageError{fmt.Errorf("upgrade schedule: height %q is no block number; 0 means now", args[1])}
	}
	if o.Binary != "" && o.URL != "" {
		return usageError{errors.New("upgrade schedule: --binary or --url, not both")}
	}
	if _, err := o.Plan(); err != nil {
		return err
	}
	if o.Binary != "" {
		if err := upgrade.Runnable(o.Binary); err != nil {
			return err
		}
		if o.Binary, err = filepath.Abs(o.Binary); err != nil {
			return err
		}
	}
	e, err := order(ctx, s, o)
	if err != nil {
		return err
	}
	if *raw {
		err = printJSON(e)
	} else {
		fmt.Printf("plan %s for height %s is %s\n", e.Name, heightOf(e), stageOf(e))
		if e.Warning != "" {
			fmt.Println("warning: " + e.Warning)
		}
	}
	return errors.Join(err, readiness(e))
}

// order has the supervisor schedule and prepare it, or does both on a volume
// that has none.
func order(ctx context.Context, s *settings, o api.Order) (e upgrade.Entry, err error) {
	client := api.NewClient(s.controlSocket)
	over := watch(func(ctx context.Context) *upgrade.Download {
		var st api.Status
		if client.Get(ctx, "status", &st) != nil || st.Download == nil || st.Download.Name != o.Name {
			return nil
		}
		return st.Download
	})
	err = client.Post(ctx, "upgrades", o, &e)
	over()
	if !errors.Is(err, api.ErrNotRunning) {
		return e, err
	}
	return e, offline(ctx, s, func(u *upgrade.Upgrader) error {
		if !(upgrade.Home{Root: s.home, Name: s.name}).LaidOut() {
			return fmt.Errorf("%s is not laid out yet; run: wemixvisor init", s.home)
		}
		p, err := o.Plan()
		if err != nil {
			return err
		}
		p.By = upgrade.ByCommand
		if err := u.Schedule(p, o.Binary, o.Force); err != nil {
			return err
		}
		defer watch(func(context.Context) *upgrade.Download { return u.Downloading() })()
		e, err = u.Prepare(ctx, o.Name)
		return err
	})
}

// watch shows how far a download has come, until the returned function is called.
func watch(ask func(context.Context) *upgrade.Download) (over func()) {
	p := newProgress(os.Stderr)
	return background(func(ctx context.Context) error {
		defer p.end()
		tick := time.NewTicker(followEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
			if d := ask(ctx); d != nil {
				p.show("downloading "+d.Name, d.Done, d.Total)
			}
		}
	})
}

// readiness is what a plan that is not ready makes of the exit code. The plan
// stays, and is tried again.
func readiness(e upgrade.Entry) error {
	if e.Stage != upgrade.NotReady {
		return nil
	}
	err := fmt.Errorf("plan %s is not ready: %s; it stays and is tried again", e.Name, e.Reason)
	switch e.Fault {
	case upgrade.FaultChecksum:
		return exit{err, exitCorrupt}
	case upgrade.FaultNoSpace:
		return exit{err, exitNoSpace}
	}
	return err
}
