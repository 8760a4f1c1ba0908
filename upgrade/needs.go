package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/wemix/wemixvisor/backup"
)

// Needs are what the hooks of a plan need beyond the ordinary, as one does that
// converts the whole database: in info,
//
//	"hook": {"free": "data", "timeout": "12h"}
//
// A plan that says so has a hook: without one it is not ready.
type Needs struct {
	Free     int64         // bytes that must be free in the data directory, above the floor
	LikeData bool          // as many as the data has now; Free is not looked at
	Timeout  time.Duration // in place of the configured one; 0: that one
}

// freeLikeData is what Free is called when it is as much as the data has.
const freeLikeData = "data"

// IsZero reports whether nothing is needed.
func (n Needs) IsZero() bool { return n == Needs{} }

// UnmarshalJSON reads them. What it does not know is refused: a hook that was
// promised its room must not run without.
func (n *Needs) UnmarshalJSON(data []byte) error {
	*n = Needs{}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return errors.New(`hook is an object such as {"free": "data", "timeout": "12h"}`)
	}
	for name, raw := range fields {
		var word string
		_ = json.Unmarshal(raw, &word)
		switch {
		case name == "free" && word == freeLikeData:
			n.LikeData = true
		case name == "free":
			if err := json.Unmarshal(raw, &n.Free); err != nil || n.Free < 0 {
				return fmt.Errorf("hook: free is a number of bytes or %q, not %.40s", freeLikeData, raw)
			}
		case name == "timeout":
			var err error
			if n.Timeout, err = time.ParseDuration(word); err != nil || n.Timeout <= 0 {
				return fmt.Errorf("hook: timeout is a time such as 12h, not %.40s", raw)
			}
		default:
			return fmt.Errorf("hook: no such need: %.40q; there are free and timeout", name)
		}
	}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (n Needs) MarshalJSON() ([]byte, error) {
	fields := map[string]any{}
	if n.LikeData {
		fields["free"] = freeLikeData
	} else if n.Free > 0 {
		fields["free"] = n.Free
	}
	if n.Timeout > 0 {
		fields["timeout"] = n.Timeout.String()
	}
	return json.Marshal(fields)
}

// provided reports whether there is room for the snapshot, and a plan's hooks are
// there and have what they need.
func (u *Upgrader) provided(ctx context.Context, r *Record) error {
	hooks, err := u.hooks(r)
	if err == nil {
		err = u.room()
	}
	needs := r.Info.Needs
	switch {
	case err != nil:
		return err
	case needs.IsZero():
		return nil
	case len(hooks) == 0:
		return fmt.Errorf("the plan needs a hook and there is none; put it at %s", filepath.Join(u.cfg.Home.Dir(), r.folder(), "pre-upgrade"))
	}
	if needs.LikeData {
		if needs.Free, err = allocated(ctx, u.cfg.Data); err != nil {
			return err
		}
	}
	if needs.Free == 0 {
		return nil
	}
	if err := u.cfg.Floor.Check(u.cfg.Data, needs.Free); err != nil {
		return fmt.Errorf("room for the hook: %w", err)
	}
	return nil
}

// room reports whether the disk is free enough for a snapshot to be made.
func (u *Upgrader) room() error {
	if u.cfg.SkipBackup {
		return nil
	}
	if _, err := os.Stat(u.cfg.Data); errors.Is(err, fs.ErrNotExist) {
		return nil // the node's first start makes it
	}
	return u.cfg.Floor.Check(u.cfg.Data, 0)
}

// allocated sums up the bytes that the node's files occupy, snapshots of them
// left aside.
func allocated(ctx context.Context, data string) (sum int64, err error) {
	_, err = backup.Tree{Root: data}.Walk(ctx, func(e backup.Entry) error {
		sum += e.Blocks * 512
		return nil
	})
	return sum, err
}

// hookTimeout is how long each hook of a plan may take.
func (u *Upgrader) hookTimeout(r *Record) time.Duration {
	if t := r.Info.Needs.Timeout; t > 0 {
		return t
	}
	return u.cfg.PreupgradeTimeout
}
