package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/probe/chain"
)

// reloadable are the settings that change while the node runs. All others take
// effect at the next start. Who adds one here has the reloader's apply pass it on.
var reloadable = []string{
	"alert-backup-age",
	"alert-for",
	"alert-full-within",
	"alert-head-age",
	"alert-max-lag",
	"alert-min-free",
	"alert-min-peers",
	"alert-remember",
	"alert-upgrade-blocks",
	"api-origins",
	"backup-include-secrets",
	"backup-keep-days",
	"backup-keep-full",
	"backup-level",
	"backup-rate",
	"backup-schedule",
	"backup-workers",
	"live-max-rpc-silence",
	"log-format",
	"log-level",
	"max-restarts",
	"network",
	"on-exit-zero",
	"ready-max-head-age",
	"ready-max-lag",
	"ready-min-peers",
	"restart-on-failure",
	"restart-window",
	"shutdown-grace",
}

// secrets are the settings whose values nobody is shown.
var secrets = []string{"alert-urls"}

// reloader reads the settings again while the supervisor runs.
type reloader struct {
	logger log.Logger
	// check takes over what can fail, such as files named by settings, or refuses
	// all of them; apply then passes on the rest. They are called one at a time.
	check func(*settings) error
	apply func(*settings)

	mu   sync.Mutex // one reload at a time
	now  atomic.Pointer[settings]
	asks chan struct{}
}

func newReloader(s *settings, logger log.Logger) *reloader {
	r := &reloader{logger: logger, asks: make(chan struct{}, 1)}
	r.now.Store(s)
	return r
}

// hup asks for a reload. It never blocks: a storm is one reload, and one more.
func (r *reloader) hup() {
	select {
	case r.asks <- struct{}{}:
	default:
	}
}

// run reloads when asked to, until ctx is done.
func (r *reloader) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.asks:
			_, _ = r.reload() // it logs how it went
		}
	}
}

// reload reads the settings again, from what they were read from at the start.
// On an error everything stays as it was.
func (r *reloader) reload() (api.Reloaded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now.Load()
	next, _, err := parse(now.args)
	if err == nil {
		err = r.check(next)
	}
	if err != nil {
		level.Error(r.logger).Log("msg", "settings not reloaded; the old ones stay", "err", err)
		return api.Reloaded{}, err
	}
	done, merged := merge(now, next)
	r.apply(merged)
	r.now.Store(merged)
	level.Info(r.logger).Log("msg", "settings reloaded", "changed", strings.Join(done.Changed, ","))
	if len(done.Restart) > 0 {
		level.Warn(r.logger).Log("msg", "some settings take effect at the next start only", "settings", strings.Join(done.Restart, ","))
	}
	return done, nil
}

// merge returns now with what can change of next.
func merge(now, next *settings) (api.Reloaded, *settings) {
	done := api.Reloaded{Changed: []string{}, Restart: []string{}}
	merged := &settings{given: map[string]given{}, args: now.args}
	r := newReader()
	r.define(merged)
	each(func(f *flag.Flag) {
		was, is := now.text(f), next.text(f)
		take := now.given
		if slices.Contains(reloadable, f.Name) {
			take = next.given
			if was != is {
				done.Changed = append(done.Changed, f.Name)
			}
		} else if was != is {
			done.Restart = append(done.Restart, f.Name)
		}
		if g, ok := take[f.Name]; ok {
			merged.given[f.Name] = g
			_ = r.set.Set(f.Name, g.text) // it was read before
		}
	})
	_ = merged.complete() // neither did it complain of either
	return done, merged
}

// text is a setting's value as it is written.
func (s *settings) text(f *flag.Flag) string {
	if g, ok := s.given[f.Name]; ok {
		return g.text
	}
	return f.DefValue
}

// list returns every setting, secrets masked.
func (s *settings) list() []api.Setting {
	usual := map[string]string{
		"config": s.config, "home": s.home, "data-dir": s.dataDir, "data-backup-dir": s.dataBackupDir, "control-socket": s.controlSocket,
	}
	var all []api.Setting
	each(func(f *flag.Flag) {
		set := api.Setting{
			Key: f.Name, Value: s.text(f), Origin: originDefault,
			Reloadable: slices.Contains(reloadable, f.Name),
		}
		if g, ok := s.given[f.Name]; ok {
			set.Origin = g.origin
		} else if set.Value == "" {
			set.Value = usual[f.Name]
		}
		set.Value = masked(f.Name, set.Value)
		all = append(all, set)
	})
	return all
}

// masked hides what is secret in a value: all of it, or the password of a URL.
func masked(key, value string) string {
	if value == "" {
		return ""
	}
	if slices.Contains(secrets, key) {
		return "***"
	}
	return chain.Redacted(value)
}

// restarting says when a change of key takes effect.
func restarting(key string) string {
	if slices.Contains(reloadable, key) {
		return "a running supervisor takes it with: wemixvisor config reload"
	}
	return fmt.Sprintf("%s takes effect when the supervisor is restarted", key)
}
