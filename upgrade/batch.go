package upgrade

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// batchVersion is the format of batch plans that we write and read.
const batchVersion = "1.0"

// Batch is a plan of several upgrades, at rising heights.
type Batch struct {
	Version     string    `json:"version"`
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	CreatedAt   time.Time `json:"created_at,omitzero"`
	Upgrades    []Plan    `json:"upgrades"`
}

// DecodeBatch reads a batch plan, ours or the array that cosmovisor keeps in
// upgrade-info.json.batch; that has no name of its own. Like DecodePlan it
// returns the fields that it knows nothing of.
func DecodeBatch(data []byte) (b Batch, unknown []string, err error) {
	data = bytes.TrimSpace(data)
	var upgrades []json.RawMessage
	if bytes.HasPrefix(data, []byte("[")) {
		b.Version = batchVersion
		if err := json.Unmarshal(data, &upgrades); err != nil {
			return Batch{}, nil, fmt.Errorf("%w: %s", ErrPlan, explain(err))
		}
	} else {
		var fields struct {
			Batch
			Upgrades []json.RawMessage `json:"upgrades"`
		}
		if err := json.Unmarshal(data, &fields); err != nil {
			return Batch{}, nil, fmt.Errorf("%w: %s", ErrPlan, explain(err))
		}
		b, upgrades = fields.Batch, fields.Upgrades
		if err := ValidName(b.Name); err != nil {
			return Batch{}, nil, fmt.Errorf("%w: %w", ErrPlan, err)
		}
	}
	b.Upgrades = nil
	for i, raw := range upgrades {
		p, more, err := DecodePlan(raw)
		if err != nil {
			return Batch{}, nil, fmt.Errorf("upgrade %d: %w", i+1, err)
		}
		b.Upgrades = append(b.Upgrades, p)
		unknown = append(unknown, more...)
	}
	return b, unknown, b.Check()
}

// Check reports what is wrong with the batch.
func (b Batch) Check() error {
	if b.Version != batchVersion {
		return fmt.Errorf("%w: version %q; this wemixvisor reads version %q", ErrPlan, b.Version, batchVersion)
	}
	if len(b.Upgrades) == 0 {
		return fmt.Errorf("%w: no upgrades in it", ErrPlan)
	}
	names := map[string]bool{}
	last := uint64(0)
	for i, p := range b.Upgrades {
		if err := p.Check(); err != nil {
			return fmt.Errorf("upgrade %d: %w", i+1, err)
		}
		if p.Height <= last {
			return fmt.Errorf("%w: upgrade %d, %s: height %d is not above %d; heights must rise", ErrPlan, i+1, p.Name, p.Height, last)
		}
		if names[p.Name] {
			return fmt.Errorf("%w: upgrade %d: %s is in it twice", ErrPlan, i+1, p.Name)
		}
		names[p.Name], last = true, p.Height
	}
	return nil
}

// DecodeCSV reads cosmovisor's list of upgrades, a line name,path,height each.
// The paths of the binaries are returned by name: they are to be staged.
func DecodeCSV(data []byte) (b Batch, binaries map[string]string, err error) {
	b.Version, binaries = batchVersion, map[string]string{}
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord, r.TrimLeadingSpace, r.Comment = 3, true, '#'
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Batch{}, nil, fmt.Errorf("%w: want lines of name,path,height: %w", ErrPlan, err)
		}
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		height, err := strconv.ParseUint(fields[2], 10, 63)
		if err != nil {
			line, _ := r.FieldPos(2)
			return Batch{}, nil, fmt.Errorf("%w: line %d: height %.40q is no block number", ErrPlan, line, fields[2])
		}
		b.Upgrades = append(b.Upgrades, Plan{Name: fields[0], Height: height})
		binaries[fields[0]] = fields[1]
	}
	return b, binaries, b.Check()
}
