package governance

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unicode"

	"github.com/wemix/wemixvisor/upgrade"
)

const (
	prefix    = "wemixvisor:"
	memoLimit = 64 << 10 // bytes of a memo that may be a plan
	memoShown = 1 << 10  // bytes of one that people are shown
)

// errNoPlan says that a memo is about something else.
var errNoPlan = errors.New("its memo carries no plan")

// DecodeMemo reads the plan in a memo. Any error but errNoPlan says that one was
// meant.
func DecodeMemo(memo []byte) (upgrade.Plan, error) {
	data := bytes.TrimSpace(bytes.TrimRight(memo, "\x00"))
	rest, marked := bytes.CutPrefix(data, []byte(prefix))
	if data = bytes.TrimSpace(rest); !marked && !bytes.HasPrefix(data, []byte("{")) {
		return upgrade.Plan{}, errNoPlan
	}
	if len(data) > memoLimit {
		return upgrade.Plan{}, fmt.Errorf("%w: a memo of %d bytes; the limit is %d", upgrade.ErrPlan, len(data), memoLimit)
	}
	if err := unambiguous(data); err != nil {
		return upgrade.Plan{}, fmt.Errorf("%w: %w", upgrade.ErrPlan, err)
	}
	p, _, err := upgrade.DecodePlan(data)
	if err != nil {
		return upgrade.Plan{}, err
	}
	if p.Height == 0 {
		return upgrade.Plan{}, fmt.Errorf("%w: no height: all who voted must upgrade at the same one", upgrade.ErrPlan)
	}
	var fields struct{ SHA256 string }
	if err := json.Unmarshal(data, &fields); err != nil {
		return upgrade.Plan{}, fmt.Errorf("%w: sha256: %w", upgrade.ErrPlan, err)
	}
	short, beside := "", fields.SHA256
	if !strings.HasPrefix(p.Info.Raw, "{") && strings.HasPrefix(strings.ToLower(p.Info.Raw), "sha256:") {
		short, p.Info.Raw = strings.TrimSpace(p.Info.Raw), ""
	}
	for _, sum := range []string{short, beside} {
		if sum == "" {
			continue
		}
		if p.Info, err = with(p.Info, sum); err != nil {
			return upgrade.Plan{}, fmt.Errorf("%w: %w", upgrade.ErrPlan, err)
		}
	}
	if err := p.Check(); err != nil {
		return upgrade.Plan{}, err
	}
	if _, sum := p.Info.Here(); !strings.HasPrefix(strings.ToLower(sum), "sha256:") {
		return upgrade.Plan{}, fmt.Errorf("%w: no sha256 of the binary for %s/%s", upgrade.ErrPlan, runtime.GOOS, runtime.GOARCH)
	}
	return p, nil
}

// with returns info with a checksum for this machine, which must not contradict
// what it says already.
func with(info upgrade.Info, sum string) (upgrade.Info, error) {
	digits := sum
	if kind, rest, ok := strings.Cut(sum, ":"); ok && strings.EqualFold(kind, "sha256") {
		digits = rest
	}
	if b, err := hex.DecodeString(digits); err != nil || len(b) != 32 {
		return info, fmt.Errorf("sha256 %.100q: want 64 hex digits", sum)
	}
	sum = "sha256:" + strings.ToLower(digits)
	_, have := info.Here()
	switch {
	case have != "" && !strings.EqualFold(have, sum):
		return info, fmt.Errorf("two checksums that differ: %s and %s", have, sum)
	case have != "":
		return info, nil
	}
	whole := map[string]any{}
	if strings.HasPrefix(info.Raw, "{") {
		if err := json.Unmarshal([]byte(info.Raw), &whole); err != nil {
			return info, err
		}
	} else if info.Raw != "" {
		whole["remark"] = info.Raw
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if _, named := info.Binaries[platform]; !named {
		platform = "any"
	}
	sums := map[string]string{platform: sum}
	for platform, other := range info.Checksums {
		sums[platform] = other
	}
	for key := range whole { // encoding/json takes it in any case
		if strings.EqualFold(key, "checksums") {
			delete(whole, key)
		}
	}
	whole["checksums"] = sums
	data, err := json.Marshal(whole)
	if err != nil {
		return info, err
	}
	var made upgrade.Info
	return made, json.Unmarshal(data, &made)
}

// unambiguous refuses a memo that says one thing twice, or more than one: two
// nodes must not read two plans in it.
func unambiguous(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("no JSON: %w", err)
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return fmt.Errorf("no complete JSON: %w", err)
		}
		name := strings.ToLower(fmt.Sprint(key))
		if seen[name] {
			return fmt.Errorf("%.40q stands in it twice", name)
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("no complete JSON: %w", err)
		}
	}
	return nil
}

// shown makes a memo fit for logs and screens.
func shown(memo []byte) string {
	if len(memo) > memoShown {
		memo = append(memo[:memoShown:memoShown], "…"...)
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(memo), "")))
}
