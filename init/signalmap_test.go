package supervisor

import (
	"maps"
	"syscall"
	"testing"
)

func TestParseSignalMap(t *testing.T) {
	for _, tc := range []struct {
		text string
		want SignalMap // nil: refused
	}{
		{"", SignalMap{}},
		{" ", SignalMap{}},
		{"HUP=0", SignalMap{1: 0}},
		{"HUP=0,SIGUSR1=TERM", SignalMap{1: 0, 10: 15}},
		{" hup = usr1 , 15=2 ", SignalMap{1: 10, 15: 2}},
		{"RTMIN+1=RTMAX-2,RTMAX=RTMIN", SignalMap{35: 62, 64: 34}},
		{"TERM=KILL", SignalMap{15: 9}},
		{"IOT=ABRT", nil}, // x/sys knows one name for each
		{"HUP", nil},
		{"HUP=", nil},
		{"=HUP", nil},
		{"0=HUP", nil},
		{"HUP=1,1=2", nil},
		{"HUP=65", nil},
		{"HUP=-1", nil},
		{"HUP=FOO", nil},
		{"RTMIN+31=0", nil},
		{"RTMAX+1=0", nil},
		{"RTMINX=0", nil},
		{"KILL=TERM", nil},
		{"STOP=TERM", nil},
		{"CHLD=TERM", nil},
		{"URG=TERM", nil},
		{"HUP=0,", nil},
	} {
		have, err := ParseSignalMap(tc.text)
		if (err == nil) != (tc.want != nil) || err == nil && !maps.Equal(have, tc.want) {
			t.Errorf("%q: want %v, have %v, %v", tc.text, tc.want, have, err)
		}
	}
}

// A map of what can never arrive would be accepted and ignored.
func TestParseSignalMapRefusesWhatNeverArrives(t *testing.T) {
	for _, text := range []string{"PROF=TERM", "32=TERM", "33=TERM", "RTMIN=TERM", "34=TERM"} {
		if m, err := ParseSignalMap(text); err == nil {
			t.Errorf("%s: want an error, have %v", text, m)
		}
	}
}

func TestSignalNames(t *testing.T) {
	for n := syscall.Signal(1); n <= rtmax; n++ {
		have, err := ParseSignal(SignalName(n))
		if err != nil || have != n {
			t.Errorf("%d is %s is %d, %v", n, SignalName(n), have, err)
		}
	}
}

func FuzzParseSignalMap(f *testing.F) {
	for _, text := range []string{"", "HUP=0", "hup=TERM,RTMIN+2=RTMAX-1", "SIGSIGHUP=1", "1=2,2=1", "+1=+2", "RTMIN+-1=0", "RTMAX--1=0", "HUP=00", "RTMIN+0x1=0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseSignalMap(text)
		if err != nil {
			return
		}
		for from, to := range m {
			if from < 1 || from > 64 || to < 0 || to > 64 {
				t.Fatalf("%q: %d=%d", text, from, to)
			}
		}
		again, err := ParseSignalMap(m.String())
		if err != nil || !maps.Equal(m, again) {
			t.Fatalf("%q: %v prints as %q, which is %v, %v", text, m, m, again, err)
		}
	})
}
