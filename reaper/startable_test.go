package reaper

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStartableSaysWhatExecWould(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	self, err := os.ReadFile(must(os.Executable()))
	if err != nil {
		t.Fatal(err)
	}
	riscv := append([]byte{}, self...)
	riscv[18], riscv[19] = 0xf3, 0 // e_machine: EM_RISCV
	for _, tc := range []struct {
		name, file string
		want       error
		words      string
	}{
		{"this program", write("self", string(self), 0o755), nil, ""},
		{"a script of the shell", write("script", "#!/bin/sh\nexit 0\n", 0o755), nil, ""},
		{"a script of a script", write("outer", "#!"+filepath.Join(dir, "script")+"\n", 0o755), nil, ""},
		{"missing", filepath.Join(dir, "missing"), ErrNotFound, ""},
		{"mode bits", write("plain", string(self), 0o644), ErrNotExecutable, "chmod +x"},
		{"another machine", write("riscv", string(riscv), 0o755), ErrNotExecutable, "RISCV"},
		{"empty", write("empty", "", 0o755), ErrNotExecutable, "empty"},
		{"text", write("text", "hello\n", 0o755), ErrNotExecutable, "neither an ELF"},
		{"no interpreter", write("lost", "#!/no/such/sh\n", 0o755), ErrNotExecutable, "/no/such/sh"},
		{"an interpreter of another machine", write("far", "#!"+filepath.Join(dir, "riscv")+"\n", 0o755), ErrNotExecutable, "RISCV"},
		{"a script of itself", write("loop", "#!"+filepath.Join(dir, "loop")+"\n", 0o755), nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := Startable(tc.file)
			if !errors.Is(err, tc.want) {
				t.Fatalf("want %v, have %v", tc.want, err)
			}
			if err != nil && !strings.Contains(err.Error(), tc.words) {
				t.Fatalf("want %q said, have %v", tc.words, err)
			}
		})
	}
}

func must(file string, err error) string {
	if err != nil {
		panic(err)
	}
	return file
}
