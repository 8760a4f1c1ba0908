package main

import (
	"debug/elf"
	"fmt"
	"os"
	"regexp"
	"testing"
)

// What was mapped for the start is less afterwards, and everything still works: this
// very program, too, goes on.
func TestForgettingTheStart(t *testing.T) {
	program, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program.Close()
	if program.Type != elf.ET_EXEC {
		t.Skip("a test that can be loaded anywhere")
	}
	mapped := func() (kib int) {
		b, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(string(regexp.MustCompile(`RssFile:\s+(\d+)`).FindSubmatch(b)[1]), &kib); err != nil {
			t.Fatal(err)
		}
		return kib
	}
	before := mapped()
	forgetStart()
	after := mapped()
	if after >= before {
		t.Errorf("want less than %d KiB mapped, have %d", before, after)
	}
	t.Logf("%d KiB mapped, %d afterwards", before, after)
}
