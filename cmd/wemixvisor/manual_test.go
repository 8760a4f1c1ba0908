package main

import (
	"strings"
	"testing"
)

// Who asks for help with a command gets help with that one.
func TestHelp(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "exit 0")
	for _, tc := range []struct {
		call      string
		has, less string
	}{
		{"--help", "\n  version [--json]\n", "no such thing"},
		{"upgrade -h", "\n  upgrade check NAME [--json]\n", "rollback"},
		{"help backup restore", "\n  backup restore ID|FOLDER --to DIR [--json]\n", "backup create"},
		{"backup restore --help", "\n  backup restore ID|FOLDER --to DIR [--json]\n", "backup create"},
		{"help run", "\n  run [node-args...]\n", "restart"},
	} {
		code, out := h.command(strings.Fields(tc.call)...)
		if code != 0 || !strings.Contains(out, tc.has) || strings.Contains(out, tc.less) {
			t.Errorf("%s: want %q without %q, have exit %d: %s", tc.call, tc.has, tc.less, code, out)
		}
	}
	if code, out := h.command("help", "nothing"); code != exitUsage || strings.Count(out, "\n") != 1 {
		t.Errorf("want a line and %d, have %d: %s", exitUsage, code, out)
	}
}
