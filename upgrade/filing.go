package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/wemix/wemixvisor/backup/durable"
)

// queued returns where our own commands file a plan of that name.
func (h Home) queued(name string) string { return filepath.Join(h.Dir(), "queue", name+".json") }

// File puts a plan into the queue. When it returns nil, it is on disk.
func (h Home) File(p Plan) error {
	if err := p.Check(); err != nil {
		return err
	}
	if err := WriteJSON(h.queued(p.Name), p, "queue"); err != nil {
		return fmt.Errorf("file plan %s: %w", p.Name, err)
	}
	return nil
}

// Withdraw takes a plan that was filed by one of our commands out of the queue;
// one that is not there is no error.
func (h Home) Withdraw(name string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	return removeDurably(h.queued(name))
}

// Filed returns the plan of that name that one of our commands put into the
// queue; where none lies there, an error that is [fs.ErrNotExist].
func (h Home) Filed(name string) (Plan, error) {
	if err := ValidName(name); err != nil {
		return Plan{}, err
	}
	data, _, err := readSmall(h.queued(name), planLimit)
	if err != nil {
		return Plan{}, fmt.Errorf("read plan %s: %w", name, err)
	}
	p, _, err := DecodePlan(data)
	return p, err
}

// FileBatch puts a batch plan among the plans, in the place of one of its name.
// The binaries, files by the name of their upgrade, are staged before it counts.
func (h Home) FileBatch(b Batch, binaries map[string]string) error {
	if b.Version == "" {
		b.Version = batchVersion
	}
	if b.CreatedAt.IsZero() {
		b.CreatedAt = time.Now().UTC().Truncate(time.Second)
	}
	if err := b.Check(); err != nil {
		return err
	}
	if err := ValidName(b.Name); err != nil {
		return err
	}
	for _, p := range b.Upgrades {
		if binary := binaries[p.Name]; binary != "" {
			if err := h.Stage(binary, p.Name); err != nil {
				return err
			}
		}
	}
	if err := WriteJSON(h.planned(b.Name), b, "plans"); err != nil {
		return fmt.Errorf("file plan %s: %w", b.Name, err)
	}
	return nil
}

// RemoveBatch takes a batch plan away.
func (h Home) RemoveBatch(name string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	if _, err := os.Stat(h.planned(name)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("plan %s: %w", name, ErrUnknown)
	} else if err != nil {
		return fmt.Errorf("remove plan %s: %w", name, err)
	}
	return removeDurably(h.planned(name))
}

// Batch returns the batch plan of that name, or [ErrUnknown].
func (h Home) Batch(name string) (Batch, error) {
	all, err := h.Batches()
	for _, b := range all {
		if b.Name == name {
			return b, nil
		}
	}
	return Batch{}, errors.Join(fmt.Errorf("plan %s: %w", name, ErrUnknown), err)
}

// Batches returns the batch plans of the volume that can be read, by name.
func (h Home) Batches() ([]Batch, error) {
	names, err := filepath.Glob(filepath.Join(h.Dir(), "plans", "*.json"))
	if err != nil {
		return nil, err
	}
	var all []Batch
	var errs []error
	for _, file := range names {
		data, _, err := readSmall(file, planLimit)
		var b Batch
		if err == nil {
			b, _, err = DecodeBatch(data)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read plan %s: %s", filepath.Base(file), reason(err)))
			continue
		}
		all = append(all, b)
	}
	return all, errors.Join(errs...)
}

func (h Home) planned(name string) string { return filepath.Join(h.Dir(), "plans", name+".json") }

// WriteJSON puts v into file, whose folder is made if need be. When it returns
// nil, it is on disk; whoever loses power before finds what was there. The
// moments in between are the failpoints of that prefix.
func WriteJSON(file string, v any, point string) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Dir(dir)); err != nil { // the folder may be new
		return err
	}
	return writeFile(file, append(data, '\n'), point)
}

func removeDurably(file string) error {
	err := os.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(file))
}
