package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// homeSettings say where everything lies.
type homeSettings struct {
	config        string
	home          string
	name          string
	dataDir       string
	dataBackupDir string
	network       string
	controlSocket string
	lockTimeout   time.Duration
}

func (s *homeSettings) define(r *reader) {
	r.text(&s.config, "config", "", "configuration `file`: flat TOML, keys as the flags (default $DAEMON_HOME/wemixvisor/config.toml, if it exists)")
	r.text(&s.home, "home", "", "root of all state (default $HOME/.wemixd)")
	r.text(&s.name, "name", "wemixd", "file name of the node binary")
	r.text(&s.dataDir, "data-dir", "", "the node's data directory: what is protected (default $DAEMON_HOME/data)")
	r.text(&s.dataBackupDir, "data-backup-dir", "", "where backups lie; its disk is watched like the data directory's (default $DAEMON_HOME/backups)")
	r.text(&s.network, "network", "", "label for status and metrics: mainnet, testnet, devnet")
	r.text(&s.controlSocket, "control-socket", "", "`path` of the control socket, mode 0600 (default $DAEMON_HOME/wemixvisor/wemixvisor.sock)")
	r.duration(&s.lockTimeout, "lock-timeout", 10*time.Second, 0, "how long run waits for another supervisor on this home before it exits 4")
}

// complete fills what depends on other settings.
func (s *homeSettings) complete() error {
	if s.home == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			user = "/" // as container runtimes have it; exec needs none at all
		}
		s.home = filepath.Join(user, ".wemixd")
	}
	home, err := filepath.Abs(s.home)
	if err != nil {
		return fmt.Errorf("home %s: %w", s.home, err)
	}
	s.home = home
	for place, usual := range map[*string]string{
		&s.dataDir:       "data",
		&s.dataBackupDir: "backups",
		&s.controlSocket: "wemixvisor/wemixvisor.sock",
	} {
		if *place == "" {
			*place = filepath.Join(s.home, usual)
		}
	}
	if s.name == "" || strings.ContainsRune(s.name, '/') {
		return fmt.Errorf("name (DAEMON_NAME): %q is no file name", s.name)
	}
	return nil
}
