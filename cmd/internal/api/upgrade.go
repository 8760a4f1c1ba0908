package api

import (
	"net/http"
	"time"

	"github.com/wemix/wemixvisor/upgrade"
)

// Order is the body of POST /api/v1/upgrades: a plan, and where its binary comes
// from.
type Order struct {
	Name   string       `json:"name"`
	Height uint64       `json:"height"`           // 0: now
	Time   time.Time    `json:"time,omitzero"`    // not before
	At     string       `json:"at,omitempty"`     // height or halt
	Info   upgrade.Info `json:"info,omitzero"`    // as in upgrade-info.json
	Binary string       `json:"binary,omitempty"` // a file of the supervisor's container, to be staged

	URL      string `json:"url,omitempty"` // instead of info: for every platform
	Checksum string `json:"checksum,omitempty"`

	Force bool `json:"force,omitempty"` // although the chain is past the height
	Wait  bool `json:"wait,omitempty"`  // answer when its preparation has succeeded or failed
}

// Plan is what the order says of the upgrade.
func (o Order) Plan() (upgrade.Plan, error) {
	p := upgrade.Plan{Name: o.Name, Height: o.Height, Time: o.Time, At: o.At, Info: o.Info, By: upgrade.ByAPI}
	if (o.URL != "" || o.Checksum != "") && !o.Info.IsZero() {
		return p, malformed("url and checksum say what info says too: leave out one of them")
	}
	if o.URL != "" {
		p.Info.Binaries = map[string]string{"any": o.URL}
	}
	if o.Checksum != "" {
		p.Info.Checksums = map[string]string{"any": o.Checksum}
	}
	return p, p.Check()
}

// Return is the body of POST /api/v1/rollback.
type Return struct {
	Data bool `json:"data,omitempty"` // the data too
}

// Current says which binary is in use.
type Current struct {
	Current string `json:"current"` // genesis, or the name of an upgrade
}

// Removed names what is not there any more.
type Removed struct {
	Name string `json:"name"`
}

// Batch is the body of POST /api/v1/plans: a batch plan, and files of the
// supervisor's container by the name of the upgrade they are staged for.
type Batch struct {
	upgrade.Batch
	Binaries map[string]string `json:"binaries,omitempty"`
}

func (s *Server) listUpgrades(*http.Request) ([]upgrade.Entry, error) {
	return append([]upgrade.Entry{}, s.cfg.Upgrades.List()...), nil
}

func (s *Server) oneUpgrade(r *http.Request) (upgrade.Entry, error) {
	return s.cfg.Upgrades.Entry(r.PathValue("name"))
}

// schedule answers 201 when the plan is on disk.
func (s *Server) schedule(r *http.Request, o Order) (upgrade.Entry, error) {
	p, err := o.Plan()
	if err != nil {
		return upgrade.Entry{}, err
	}
	if err := s.cfg.Upgrades.Schedule(p, o.Binary, o.Force); err != nil {
		return upgrade.Entry{}, err
	}
	if o.Wait {
		return s.cfg.Upgrades.Await(r.Context(), o.Name)
	}
	return s.cfg.Upgrades.Entry(o.Name)
}

func (s *Server) checkUpgrade(r *http.Request, _ struct{}) ([]upgrade.Check, error) {
	return s.cfg.Upgrades.Preflight(r.Context(), r.PathValue("name"))
}

func (s *Server) retryUpgrade(r *http.Request, _ struct{}) (upgrade.Entry, error) {
	return s.changed(r, s.cfg.Upgrades.Retry(r.PathValue("name")))
}

func (s *Server) confirmUpgrade(r *http.Request, _ struct{}) (upgrade.Entry, error) {
	return s.changed(r, s.cfg.Upgrades.Confirm(r.PathValue("name")))
}

func (s *Server) cancelUpgrade(r *http.Request, _ struct{}) (upgrade.Entry, error) {
	return s.changed(r, s.cfg.Upgrades.Cancel(r.PathValue("name")))
}

func (s *Server) changed(r *http.Request, err error) (upgrade.Entry, error) {
	if err != nil {
		return upgrade.Entry{}, err
	}
	return s.oneUpgrade(r)
}

// rollback answers when the node runs again.
func (s *Server) rollback(r *http.Request, b Return) (Current, error) {
	if err := s.cfg.Upgrades.Rollback(r.Context(), b.Data); err != nil {
		return Current{}, err
	}
	return Current{s.cfg.Home.Current()}, nil
}

func (s *Server) listPlans(*http.Request) ([]upgrade.Batch, error) {
	all, err := s.cfg.Home.Batches()
	if len(all) > 0 { // one that cannot be read is told by the log
		err = nil
	}
	return append([]upgrade.Batch{}, all...), err
}

func (s *Server) onePlan(r *http.Request) (upgrade.Batch, error) {
	return s.cfg.Home.Batch(r.PathValue("name"))
}

// addPlan answers 201 when the plan is on disk.
func (s *Server) addPlan(_ *http.Request, b Batch) (upgrade.Batch, error) {
	if err := s.cfg.Home.FileBatch(b.Batch, b.Binaries); err != nil {
		return upgrade.Batch{}, err
	}
	s.cfg.Upgrades.Look() // a list that is asked for next has them
	return s.cfg.Home.Batch(b.Name)
}

func (s *Server) removePlan(r *http.Request, _ struct{}) (Removed, error) {
	name := r.PathValue("name")
	err := s.cfg.Home.RemoveBatch(name)
	s.cfg.Upgrades.Look()
	return Removed{name}, err
}
