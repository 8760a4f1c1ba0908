package api

import (
	"testing"
	"time"

	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/probe/chain"
)

func TestVersionIsThatOfTheRunningProcess(t *testing.T) {
	t.Parallel()
	now := time.Now()
	before := now.Add(-time.Hour)
	for _, tc := range []struct {
		name                   string
		process, facts, answer time.Time
		want                   string
	}{
		{"it has answered", now, now, now, "v1.16.9"},
		{"it has not yet", now, now, time.Time{}, ""},
		{"an earlier one has", now, before, before, ""},
		{"it is down", time.Time{}, before, before, "v1.16.9"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st := StatusOf(Sources{
				Supervisor: supervisor.Status{Started: tc.process},
				Facts:      chain.Facts{Started: tc.facts, FirstAnswer: tc.answer, Version: "v1.16.9-stable"},
			}, now)
			if have := st.Version; tc.want != have {
				t.Fatalf("want %q, have %q", tc.want, have)
			}
		})
	}
}
