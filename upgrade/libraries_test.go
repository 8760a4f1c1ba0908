package upgrade

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// In an image of its own, what a dynamic program lacks is named.
func TestLinks(t *testing.T) {
	t.Parallel()
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Skip(err)
	}
	here, err := links("/", sh)
	if err != nil || here.Loader == "" {
		t.Skipf("%s needs no loader (%v)", sh, err)
	}
	if len(here.Missing) != 0 {
		t.Errorf("here it runs, have %v", here.Missing)
	}
	root := t.TempDir()
	scratch, err := links(root, sh)
	if err != nil || !slices.Equal(scratch.Missing, []string{here.Loader}) {
		t.Errorf("want its loader, have %v, %v", scratch.Missing, err)
	}
	put(t, filepath.Join(root, here.Loader), "") // the loader alone
	bare, err := links(root, sh)
	if err != nil || len(bare.Missing) == 0 || bare.Missing[0] == here.Loader {
		t.Errorf("want its libraries, have %v, %v", bare.Missing, err)
	}
	script := filepath.Join(root, "script")
	put(t, script, "#!/usr/bin/env node\n")
	if l, err := links(root, script); err != nil || !slices.Equal(l.Missing, []string{"/usr/bin/env"}) {
		t.Errorf("have %v, %v", l, err)
	}
}

func TestMachine(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := machine(self); err != nil {
		t.Error(err)
	}
	elf, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	elf[18], elf[19] = 0xf3, 0 // e_machine: RISC-V
	foreign := filepath.Join(t.TempDir(), "foreign")
	put(t, foreign, string(elf[:4096]))
	if err := machine(foreign); err == nil {
		t.Error("it is for another machine")
	}
}
