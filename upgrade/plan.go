package upgrade

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a plan's height means.
const (
	AtHeight = "height" // the first head at or above it; also what an empty At means
	AtHalt   = "halt"   // the chain stands still at the block before it
)

// Who filed a plan. Files that people and scripts wrote say nothing.
const (
	ByCommand    = "command"
	ByAPI        = "api"
	ByImage      = "image"
	ByGovernance = "governance"
)

// Plan says which binary the node shall run, and from when on. Height 0 is now.
type Plan struct {
	Name   string    `json:"name"`
	Height uint64    `json:"height"`
	Time   time.Time `json:"time,omitzero"` // not before; zero: whenever
	At     string    `json:"at,omitempty"`
	Info   Info      `json:"info,omitzero"`

	By    string    `json:"by,omitempty"`
	Filed time.Time `json:"filed,omitzero"` // when one of our own commands wrote it
}

// ErrPlan says that a plan makes no sense.
var ErrPlan = errors.New("bad plan")

// foreign are fields that others write and that mean nothing here.
var foreign = []string{"upgraded_client_state"}

// DecodePlan reads what upgrade-info.json holds. It also returns the names of
// fields that it knows nothing of: whoever wrote them may want to hear that
// they set nothing. A plan without a height is one for now, so one that has an
// unknown field instead, maybe a height misspelt, is refused.
func DecodePlan(data []byte) (p Plan, unknown []string, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return Plan{}, nil, fmt.Errorf("%w: %s", ErrPlan, explain(err))
	}
	height := false
	for name, raw := range fields {
		var err error
		switch strings.ToLower(name) {
		case "name":
			err = json.Unmarshal(raw, &p.Name)
		case "height":
			p.Height, err = parseHeight(raw)
			height = true
		case "time":
			p.Time, err = parseTime(raw)
		case "at":
			err = json.Unmarshal(raw, &p.At)
		case "info":
			err = json.Unmarshal(raw, &p.Info)
		case "by":
			err = json.Unmarshal(raw, &p.By)
		case "filed":
			p.Filed, err = parseTime(raw)
		default:
			if !slices.Contains(foreign, strings.ToLower(name)) {
				unknown = append(unknown, name)
			}
		}
		if err != nil {
			return Plan{}, nil, fmt.Errorf("%w: %s: %s", ErrPlan, name, explain(err))
		}
	}
	slices.Sort(unknown)
	if !height && len(unknown) > 0 {
		return Plan{}, nil, fmt.Errorf("%w: no height, but %q, which is no field of a plan; write \"height\":0 for now", ErrPlan, unknown[0])
	}
	return p, unknown, p.Check()
}

// Check reports what is wrong with the plan.
func (p Plan) Check() error {
	if err := ValidName(p.Name); err != nil {
		return fmt.Errorf("%w: %w", ErrPlan, err)
	}
	switch p.At {
	case "", AtHeight:
	case AtHalt:
		if p.Height == 0 {
			return fmt.Errorf("%w: at halt needs the height the chain stops before", ErrPlan)
		}
	default:
		return fmt.Errorf("%w: at is %s or %s, not %q", ErrPlan, AtHeight, AtHalt, p.At)
	}
	if err := p.Info.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrPlan, err)
	}
	return nil
}

// Digest tells plans apart: equal ones say the same, whoever wrote them and
// however it is written.
func (p Plan) Digest() string {
	p.By, p.Filed = "", time.Time{}
	p.Time = p.Time.UTC()
	if p.At == AtHeight {
		p.At = ""
	}
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings, numbers and what was JSON before
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// parseHeight takes 7 and "7": the Cosmos SDK writes either.
func parseHeight(raw json.RawMessage) (uint64, error) {
	text := string(bytes.Trim(raw, `"`))
	if text == "null" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("a block number, not %.40s", raw)
	}
	return n, nil
}

// parseTime takes the Go zero time, which the Cosmos SDK writes, for none.
func parseTime(raw json.RawMessage) (time.Time, error) {
	var text *string
	if err := json.Unmarshal(raw, &text); err != nil {
		return time.Time{}, err
	}
	if text == nil || *text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, *text)
	if err != nil {
		return time.Time{}, fmt.Errorf("a time like 2026-11-24T15:04:05Z, not %.40q", *text)
	}
	if t.IsZero() {
		return time.Time{}, nil
	}
	return t, nil
}

// explain makes one short line of what encoding/json says.
func explain(err error) string {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("no complete JSON: %s at byte %d", syntax, syntax.Offset)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// ValidName reports whether name may name an upgrade: 1 to 128 letters, digits
// and . _ - +, not beginning with . or -. It becomes a folder and an argument.
func ValidName(name string) error {
	if name == "" || len(name) > 128 || strings.ContainsAny(name[:1], ".-") {
		return fmt.Errorf("name %q: 1 to 128 letters, digits, . _ - +, not beginning with . or -", name)
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-+", c) >= 0) {
			return fmt.Errorf("name %q: only letters, digits, . _ - + are allowed", name)
		}
	}
	return nil
}
