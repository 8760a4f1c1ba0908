package reaper

import (
	"debug/elf"
	"fmt"
	"runtime"
)

// machines are ELF's names of the machines we are built for.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// Startable says why file could not be started in this image, without starting
// it: it is missing, not executable, for another machine, or its loader is not
// there. What only execve(2) knows, a security policy, it can't tell.
func Startable(file string) error {
	program := file
	for range 4 { // scripts that name scripts, to the kernel's limit
		if err := executable(program); err != nil {
			if program == file {
				return err
			}
			break // its loader, said below
		}
		e, err := elf.Open(program)
		if err != nil {
			if program = interpreter(program); program == "" {
				return fmt.Errorf("%s: %w: %s", file, ErrNotExecutable, foreign(file))
			}
			continue // a script: its interpreter is what runs
		}
		machine := e.Machine
		_ = e.Close()
		if want, known := machines[runtime.GOARCH]; known && machine != want {
			return fmt.Errorf("%s: %w: %s", file, ErrNotExecutable, foreign(program))
		}
		break
	}
	if l := loader(file); l != "" && executable(l) != nil {
		return fmt.Errorf("%s: %w: its loader %q is missing in this image; use a static build, or an image that has it", file, ErrNotExecutable, l)
	}
	return nil
}
