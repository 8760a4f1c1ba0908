package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wemix/wemixvisor/cmd/internal/api"
	"github.com/wemix/wemixvisor/probe/chain"
)

// rollout is how far a network of validators has come with a new version.
type rollout struct {
	api.Rollout
	Validators int            `json:"validators"`
	Versions   map[string]int `json:"versions"`
	Reached    bool           `json:"reached"`
	Fork       *chain.Fork    `json:"fork"` // the next that the running binary knows
	BlocksLeft uint64         `json:"blocks_left"`
}

// rolloutOf asks the running supervisor; nil where there is nothing to tell, for
// none runs, or its node is no validator.
func rolloutOf(ctx context.Context, s *settings) *rollout {
	var v api.Validators
	if api.NewClient(s.controlSocket).Get(ctx, "validators", &v) != nil || !v.IsValidator {
		return nil
	}
	r := &rollout{Rollout: v.Rollout, Validators: len(v.Validators), Versions: v.Versions, Reached: v.Rollout.Have >= v.Rollout.Want && v.Rollout.Want > 0}
	for _, f := range v.Forks {
		if f.Time.IsZero() && f.Block <= v.Height || !f.Time.IsZero() && f.Time.Before(time.Now()) {
			continue
		}
		r.Fork = &f
		if f.Time.IsZero() {
			r.BlocksLeft = f.Block - v.Height
		}
		break
	}
	return r
}

// String is what people read.
func (r *rollout) String() string {
	var versions []string
	for _, v := range slices.Sorted(maps.Keys(r.Versions)) {
		name := v
		if name == "" {
			name = "not known"
		}
		versions = append(versions, fmt.Sprintf("%s: %d", name, r.Versions[v]))
	}
	text := fmt.Sprintf("roll-out: %d of %d validators propose with %s or later, it takes %d (%s)", r.Have, r.Validators, r.Version, r.Want, strings.Join(versions, ", "))
	switch f := r.Fork; {
	case f == nil:
	case f.Time.IsZero():
		text += fmt.Sprintf("; next fork %s in %d blocks", f.Name, r.BlocksLeft)
	default:
		text += fmt.Sprintf("; next fork %s at %s", f.Name, f.Time.UTC().Format(time.RFC3339))
	}
	return text
}
