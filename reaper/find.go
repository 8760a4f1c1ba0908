package reaper

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Find and start errors, told apart because a shell and every init report them
// by different exit statuses: 127 and 126.
var (
	ErrNotFound      = errors.New("not found")
	ErrNotExecutable = errors.New("not executable")
)

// Find returns the file that name stands for: itself when it holds a slash,
// else the first executable of that name in path, as execvp(3) does.
func Find(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	err := fmt.Errorf("%s: %w in PATH", name, ErrNotFound)
	if name == "" {
		return "", fmt.Errorf("empty program name: %w", ErrNotFound)
	}
	for _, dir := range filepath.SplitList(path) {
		if dir == "" {
			dir = "."
		}
		file := filepath.Join(dir, name)
		switch e := executable(file); {
		case e == nil:
			return file, nil
		case errors.Is(e, ErrNotExecutable):
			err = e
		}
	}
	return "", err
}

func executable(file string) error {
	switch info, err := os.Stat(file); {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s: %w", file, ErrNotFound)
	case err != nil:
		return fmt.Errorf("%s: %w: %w", file, ErrNotExecutable, errors.Unwrap(err))
	case info.IsDir():
		return fmt.Errorf("%s: %w: it is a directory", file, ErrNotExecutable)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%s: %w: chmod +x is missing", file, ErrNotExecutable)
	}
	return nil
}

// explain says why execve(2) refused file. The kernel's ENOENT also means a
// missing loader, its ENOEXEC also another machine.
func explain(file string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT):
		if executable(file) != nil {
			return fmt.Errorf("%s: %w", file, ErrNotFound)
		}
		if l := loader(file); l != "" {
			return fmt.Errorf("%s: %w: its loader %q is missing in this image; use a static build, or an image that has it", file, ErrNotExecutable, l)
		}
		return fmt.Errorf("%s: %w: %w", file, ErrNotExecutable, err)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP):
		return fmt.Errorf("%s: %w: %w", file, ErrNotFound, err)
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%s: %w: %s", file, ErrNotExecutable, foreign(file))
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%s: %w: %w (mode bits, a noexec mount, or a security policy)", file, ErrNotExecutable, err)
	case errors.Is(err, syscall.ELIBBAD), errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("%s: %w: %w", file, ErrNotExecutable, err)
	}
	return fmt.Errorf("start %s: %w", file, err)
}

// loader names the interpreter that file asks for, an ELF's loader or a
// script's first line, and where that exists, the one which it asks for itself.
func loader(file string) string {
	l := interpreter(file)
	for range 4 { // the kernel's limit
		if l == "" || executable(l) != nil {
			break
		}
		l = interpreter(l)
	}
	return l
}

func interpreter(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	head := make([]byte, 256)
	n, _ := f.ReadAt(head, 0)
	if line, ok := bytes.CutPrefix(head[:n], []byte("#!")); ok {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		line = bytes.TrimLeft(line, " \t") // to the kernel, a carriage return belongs to the name
		if end := bytes.IndexAny(line, " \t"); end >= 0 {
			line = line[:end]
		}
		return string(line)
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return ""
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			name := make([]byte, p.Filesz)
			if _, err := p.ReadAt(name, 0); err == nil {
				return strings.TrimRight(string(name), "\x00")
			}
		}
	}
	return ""
}

// foreign says why file is no program for this machine.
func foreign(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return "exec format error"
	}
	defer f.Close()
	e, err := elf.NewFile(f)
	if err != nil {
		if info, serr := f.Stat(); serr == nil && info.Size() == 0 {
			return "the file is empty"
		}
		return "neither an ELF program nor a script that starts with #!"
	}
	return fmt.Sprintf("built for %s, this machine is %s", strings.TrimPrefix(e.Machine.String(), "EM_"), runtime.GOARCH)
}
