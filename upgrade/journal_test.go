package upgrade

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openJournal(t *testing.T, h Home) *Journal {
	t.Helper()
	if err := os.MkdirAll(h.Dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	j := NewJournal(h, "v1")
	if how, err := j.Open(); err != nil {
		t.Fatalf("have %v, %v", how, err)
	}
	return j
}

func add(name string, stage Stage) func(*state) {
	return func(s *state) {
		r := &Record{Plan: Plan{Name: name}}
		r.enter(stage, "", time.Now())
		s.Records = append(s.Records, r)
	}
}

func TestJournalRemembers(t *testing.T) {
	t.Parallel()
	h := Home{Root: t.TempDir(), Name: "wemixd"}
	j := openJournal(t, h)
	if err := NewJournal(h, "v1").update(add("v2", Prepared)); err == nil {
		t.Error("it was not opened")
	}
	before := j.read()
	if err := j.update(add("v2", Prepared)); err != nil {
		t.Fatal(err)
	}
	if len(before.Records) != 0 {
		t.Error("what was read has changed")
	}
	again := NewJournal(h, "v2")
	how, err := again.Open()
	if err != nil || how != Fresh || again.read().record("v2").Stage != Prepared {
		t.Errorf("have %v, %v, %+v", how, err, again.read())
	}
}

func TestJournalThatIsNotThere(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		upgrade bool
		text    string
		want    Opening
		err     error // or nil
		says    string
	}{
		{"new volume", false, "", Fresh, nil, ""},
		{"lost", true, "", Lost, nil, "missing"},
		{"empty", false, " ", Lost, nil, "unreadable"},
		{"garbage", true, "{\x00", Lost, nil, "unreadable"},
		{"from nowhere", false, `{"schema":1,"plans":[{"name":"v2","stage":"switching"}]}`, Lost, nil, "nowhere"},
		{"null plan", false, `{"schema":1,"plans":[null]}`, Lost, nil, "null"},
		{"newer", true, `{"schema":2,"writer":"v9.9.9","plans":{}}`, Found, ErrNewer, "v9.9.9"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := Home{Root: t.TempDir(), Name: "wemixd"}
			if err := os.MkdirAll(filepath.Join(h.Dir(), "upgrades"), 0o755); err != nil {
				t.Fatal(err)
			}
			if tc.upgrade {
				if err := os.Mkdir(filepath.Join(h.Dir(), "upgrades", "v2"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			file := filepath.Join(h.Dir(), "journal.json")
			if tc.text != "" {
				if err := os.WriteFile(file, []byte(tc.text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			j := NewJournal(h, "v1")
			how, err := j.Open()
			if how != tc.want || (err != nil) != (tc.says != "") || tc.err != nil && !errors.Is(err, tc.err) {
				t.Fatalf("have %v, %v", how, err)
			}
			if err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("want %q, have %v", tc.says, err)
			}
			if tc.err != nil {
				if b, _ := os.ReadFile(file); string(b) != tc.text {
					t.Errorf("it was touched: %s", b)
				}
				return
			}
			if err := j.update(add("v3", Done)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A full disk takes one more entry: the room was set aside.
func TestJournalOnAFullDisk(t *testing.T) {
	root := small(t, "1m")
	h := Home{Root: root, Name: "wemixd"}
	j := openJournal(t, h)
	if err := j.update(add("v2", Prepared)); err != nil {
		t.Fatal(err)
	}
	fill, err := os.Create(filepath.Join(root, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := fill.Write(make([]byte, 4096)); err != nil {
			break
		}
	}
	for i, stage := range []Stage{Switching, Confirming, RolledBack} {
		if err := j.update(func(s *state) {
			s.record("v2").Switch = &Switch{}
			s.record("v2").enter(stage, "", time.Now())
		}); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
	big := strings.Repeat("x", 2<<20)
	too := func(s *state) { s.record("v2").Reason = big }
	if err := j.update(too); !errors.Is(err, unix.ENOSPC) || j.read().record("v2").Reason != "" {
		t.Errorf("want no space and no change, have %v", err)
	}
	if err := j.note(too); !errors.Is(err, unix.ENOSPC) || j.read().record("v2").Reason != big {
		t.Errorf("want no space and the change, have %v", err)
	}
	again := NewJournal(h, "v1")
	if _, err := again.Open(); err != nil || again.read().record("v2").Stage != RolledBack {
		t.Errorf("have %v", err)
	}
	if err := j.note(func(s *state) { s.record("v2").Reason = "short" }); err != nil {
		t.Error(err)
	}
	if err := j.flush(); err != nil {
		t.Error(err)
	}
}

func TestJournalForgetsTheOldest(t *testing.T) {
	t.Parallel()
	s := &state{}
	add("pending", Prepared)(s)
	for range keptRecords + 10 {
		add("old", Done)(s)
	}
	s.trim()
	if len(s.Records) != keptRecords || s.Records[0].Name != "pending" {
		t.Errorf("have %d, first %s", len(s.Records), s.Records[0].Name)
	}
}

func TestRecordKeepsItsSteps(t *testing.T) {
	t.Parallel()
	r := &Record{Files: []string{"x"}}
	now := time.Unix(1, 0)
	r.enter(Scheduled, "", now)
	for range 100 {
		r.enter(NotReady, "a", now)
		r.enter(NotReady, "b", now)
		r.enter(Preparing, "", now)
	}
	r.enter(Done, "", now)
	if len(r.Steps) != keptSteps || r.Steps[0].Stage != Scheduled || r.Steps[keptSteps-1].Stage != Done || r.Files != nil {
		t.Errorf("have %d: %+v", len(r.Steps), r)
	}
}

func FuzzDecodeState(f *testing.F) {
	f.Add([]byte(`{"schema":1,"plans":[{"name":"v2","stage":"confirming","switch":{"step":"link","starts":1}}],"seen":{"a":{"name":"x"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeState(data)
		if err != nil {
			return
		}
		out, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeState(out); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	})
}
