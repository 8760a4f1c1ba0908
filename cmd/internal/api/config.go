package api

import (
	"fmt"
	"net/http"
)

// Setting is one setting of the running supervisor.
type Setting struct {
	Key        string `json:"key"`
	Value      string `json:"value"`      // a secret is masked
	Origin     string `json:"origin"`     // flag, the variable's name, file:line, or default
	Reloadable bool   `json:"reloadable"` // a change takes effect without a restart
}

// Reloaded says what reading the settings again changed.
type Reloaded struct {
	Changed []string `json:"changed"`       // took effect
	Restart []string `json:"needs_restart"` // differ, and take effect at the next start
}

func (s *Server) config(*http.Request) ([]Setting, error) { return s.cfg.Settings(), nil }

// reload answers 422 when the new settings are not valid; the old ones stay.
func (s *Server) reload(*http.Request, struct{}) (Reloaded, error) {
	done, err := s.cfg.Reload()
	if err != nil {
		return Reloaded{}, fault{http.StatusUnprocessableEntity, "invalid", fmt.Errorf("the old settings stay: %w", err)}
	}
	return done, nil
}
