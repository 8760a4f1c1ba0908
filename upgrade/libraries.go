package upgrade

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// machines are the ELF machines by Go's names for them.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// machine reports why a file is no program for this machine; nil if it is one,
// or a script.
func machine(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 2)
	if n, _ := io.ReadFull(f, head); n == 0 {
		return errors.New("the file is empty")
	}
	if bytes.Equal(head, []byte("#!")) {
		return nil
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return errors.New("neither an ELF program nor a script with #! in front")
	}
	if want, known := machines[runtime.GOARCH]; known && e.Machine != want {
		return fmt.Errorf("built for %s, this machine is %s", strings.TrimPrefix(e.Machine.String(), "EM_"), runtime.GOARCH)
	}
	if e.Type != elf.ET_EXEC && e.Type != elf.ET_DYN {
		return fmt.Errorf("an ELF file, but no program (%s)", e.Type)
	}
	return nil
}

// linkage says what a program needs of the image beside itself, and what of
// that is missing.
type linkage struct {
	Loader  string   // its interpreter; empty: it needs none
	Missing []string // the loader, or libraries that were not found
}

// links looks for the interpreter of a file and, when that is a loader, for the
// libraries that it will load, below root.
func links(root, file string) (linkage, error) {
	in := func(path string) string { return filepath.Join(root, path) }
	f, err := os.Open(file)
	if err != nil {
		return linkage{}, err
	}
	defer f.Close()
	first, _ := bufio.NewReader(io.LimitReader(f, 4096)).ReadString('\n')
	if line, ok := strings.CutPrefix(first, "#!"); ok {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			return linkage{}, errors.New("its first line names no interpreter")
		}
		l := linkage{Loader: fields[0]}
		if _, err := os.Stat(in(l.Loader)); err != nil {
			l.Missing = []string{l.Loader}
		}
		return l, nil
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return linkage{}, err
	}
	var l linkage
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			name := make([]byte, p.Filesz)
			if _, err := p.ReadAt(name, 0); err == nil {
				l.Loader = strings.TrimRight(string(name), "\x00")
			}
		}
	}
	if l.Loader == "" {
		return l, nil
	}
	if _, err := os.Stat(in(l.Loader)); err != nil {
		l.Missing = []string{l.Loader} // without it the rest is of no interest
		return l, nil
	}
	s := search{root: root, machine: e.Machine, dirs: libraryDirs(root), seen: map[string]bool{filepath.Base(l.Loader): true}}
	s.needs(e, filepath.Dir(file))
	l.Missing = s.missing
	return l, nil
}

// search finds libraries as ld.so(8) does: the paths in the file, the
// environment's, the configured and the usual folders.
type search struct {
	root    string
	machine elf.Machine
	dirs    []string
	seen    map[string]bool
	missing []string
}

func (s *search) needs(e *elf.File, origin string) {
	needed, err := e.ImportedLibraries()
	if err != nil {
		return
	}
	var own []string
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		lists, _ := e.DynString(tag)
		for _, list := range lists {
			for _, dir := range filepath.SplitList(list) {
				own = append(own, strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin).Replace(dir))
			}
		}
	}
	own = append(own, filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))...)
	for _, name := range needed {
		if s.seen[name] {
			continue
		}
		s.seen[name] = true
		if !s.find(name, slices.Concat(own, s.dirs)) {
			s.missing = append(s.missing, name)
		}
	}
}

// find looks for one library and what that needs in turn.
func (s *search) find(name string, dirs []string) bool {
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = candidates[:0]
		for _, dir := range dirs {
			candidates = append(candidates, filepath.Join(dir, name))
		}
	}
	for _, path := range candidates {
		f, err := os.Open(filepath.Join(s.root, path))
		if err != nil {
			continue
		}
		e, err := elf.NewFile(f)
		if err != nil || e.Machine != s.machine {
			f.Close()
			continue
		}
		s.needs(e, filepath.Dir(path))
		f.Close()
		return true
	}
	return false
}

// libraryDirs returns the folders that glibc and musl look into.
func libraryDirs(root string) []string {
	dirs := confDirs(root, "/etc/ld.so.conf", 0)
	musl, _ := filepath.Glob(filepath.Join(root, "/etc/ld-musl-*.path"))
	for _, file := range musl {
		text, _ := os.ReadFile(file)
		dirs = append(dirs, strings.FieldsFunc(string(text), func(r rune) bool { return r == ':' || r == '\n' })...)
	}
	return append(dirs, "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
}

// confDirs reads an ld.so.conf, with what it includes.
func confDirs(root, file string, depth int) []string {
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil || depth > 4 {
		return nil
	}
	var dirs []string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "include":
			pattern := fields[1]
			if !filepath.IsAbs(pattern) {
				pattern = filepath.Join(filepath.Dir(file), pattern)
			}
			more, _ := filepath.Glob(filepath.Join(root, pattern))
			for _, m := range more {
				dirs = append(dirs, confDirs(root, strings.TrimPrefix(m, strings.TrimSuffix(root, "/")), depth+1)...)
			}
		case len(fields) == 1 && strings.HasPrefix(fields[0], "/"):
			dirs = append(dirs, fields[0])
		}
	}
	return dirs
}
