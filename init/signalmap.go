package supervisor

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// SignalMap rewrites a signal before anybody looks at it; to 0 drops it.
type SignalMap map[syscall.Signal]syscall.Signal

func (m SignalMap) apply(sig syscall.Signal) (syscall.Signal, bool) {
	if to, ok := m[sig]; ok {
		return to, to != 0
	}
	return sig, true
}

// ParseSignalMap reads FROM=TO,…: names with or without SIG, numbers, RTMIN+n
// and RTMAX-n; 0 behind the sign drops the signal.
func ParseSignalMap(text string) (SignalMap, error) {
	m := SignalMap{}
	if strings.TrimSpace(text) == "" {
		return m, nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		left, right, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("signal map: %q is not FROM=TO", pair)
		}
		from, err := ParseSignal(left)
		if err != nil {
			return nil, fmt.Errorf("signal map: %w", err)
		}
		switch from {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPROF, 32, 33, rtmin:
			return nil, fmt.Errorf("signal map: %s cannot be caught or is ours", SignalName(from))
		}
		var to syscall.Signal
		if strings.TrimSpace(right) != "0" {
			if to, err = ParseSignal(right); err != nil {
				return nil, fmt.Errorf("signal map: %w", err)
			}
		}
		if _, twice := m[from]; twice {
			return nil, fmt.Errorf("signal map: %s is mapped twice", SignalName(from))
		}
		m[from] = to
	}
	return m, nil
}

// String is the form that ParseSignalMap reads.
func (m SignalMap) String() string {
	var pairs []string
	for _, from := range slices.Sorted(maps.Keys(m)) {
		to := "0"
		if m[from] != 0 {
			to = SignalName(m[from])
		}
		pairs = append(pairs, SignalName(from)+"="+to)
	}
	return strings.Join(pairs, ",")
}

// The range that the C library offers to programs, signal(7).
const (
	rtmin = 34
	rtmax = 64
)

// ParseSignal reads one signal: TERM, SIGTERM, 15, RTMIN+1, RTMAX-2.
func ParseSignal(text string) (syscall.Signal, error) {
	name := strings.ToUpper(strings.TrimSpace(text))
	if n, err := strconv.Atoi(name); err == nil {
		if n < 1 || n > rtmax {
			return 0, fmt.Errorf("%q is no signal: numbers are 1 to %d", text, rtmax)
		}
		return syscall.Signal(n), nil
	}
	name = strings.TrimPrefix(name, "SIG")
	for prefix, base := range map[string]int{"RTMIN": rtmin, "RTMAX": rtmax} {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		offset := 0
		if rest != "" {
			var err error
			if offset, err = strconv.Atoi(rest); err != nil {
				return 0, fmt.Errorf("%q is no signal", text)
			}
		}
		if n := base + offset; n >= rtmin && n <= rtmax {
			return syscall.Signal(n), nil
		}
		return 0, fmt.Errorf("%q is no signal: real-time ones are %d to %d", text, rtmin, rtmax)
	}
	if n := unix.SignalNum("SIG" + name); n != 0 {
		return n, nil
	}
	return 0, fmt.Errorf("%q is no signal: use a name such as TERM, or a number", text)
}

// SignalName is the short name of sig, or its number.
func SignalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	if sig >= rtmin && sig <= rtmax {
		return fmt.Sprintf("RTMIN+%d", int(sig)-rtmin)
	}
	return strconv.Itoa(int(sig))
}
