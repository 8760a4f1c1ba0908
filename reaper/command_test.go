package reaper

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// cat starts a cat that has begun to read, so that its loader is done.
func cat(t *testing.T, r *Reaper, cmd Command) (*Process, func()) {
	t.Helper()
	stdin, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path, _ = Find("cat", "/bin:/usr/bin")
	cmd.Args, cmd.Stdin, cmd.Stdout = []string{"my cat"}, stdin, stdout
	p, err := r.Start(context.Background(), cmd)
	stdin.Close()
	stdout.Close()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = in.WriteString("x")
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return p, func() {
		in.Close()
		if have := ended(t, p); have != (Exit{}) {
			t.Error(have)
		}
		out.Close()
	}
}

// field returns what a file below /proc says behind key.
func field(t *testing.T, pid int, file, key string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(rest)
		}
	}
	t.Fatalf("no %q in %s", key, b)
	return ""
}

// As PID 1, our parent left every signal ignored and blocked, stdin closed and
// descriptors open; see rough.
func TestWhatAChildFinds(t *testing.T) {
	r := newReaper(t)
	leak, err := unix.Open("/", unix.O_RDONLY, 0) // not close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	p, end := cat(t, r, Command{Dir: "/proc"})
	defer end()

	for _, tc := range []struct{ name, have, want string }{
		{"blocked signals", field(t, p.Pid, "status", "SigBlk:"), "0000000000000000"},
		{"ignored signals", field(t, p.Pid, "status", "SigIgn:"), "0000000000000000"},
		{"pending signals", field(t, p.Pid, "status", "ShdPnd:"), "0000000000000000"},
		{"parent", field(t, p.Pid, "status", "PPid:"), strconv.Itoa(os.Getpid())},
		{"environment", read(t, p.Pid, "environ"), ""},
		{"arguments", read(t, p.Pid, "cmdline"), "my cat\x00"},
	} {
		if tc.have != tc.want {
			t.Errorf("%s: want %q, have %q", tc.name, tc.want, tc.have)
		}
	}
	if group, _ := unix.Getpgid(p.Pid); group != p.Pid {
		t.Errorf("want its own group %d, have %d", p.Pid, group)
	}
	have, _ := unix.Getsid(p.Pid)
	if want, _ := unix.Getsid(0); have != want {
		t.Errorf("want our session %d, have %d", want, have)
	}
	if dir, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.Pid)); dir != "/proc" {
		t.Errorf("want /proc, have %s", dir)
	}
	if os.Getpid() == 1 {
		if have := strings.Fields(field(t, p.Pid, "limits", "Max open files"))[0]; have != strconv.Itoa(softOpen) {
			t.Errorf("open files: want the limit we were given, %d, have %s", softOpen, have)
		}
	}

	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var numbers []string
	for _, fd := range fds {
		numbers = append(numbers, fd.Name())
		flags, _ := strconv.ParseInt(field(t, p.Pid, "fdinfo/"+fd.Name(), "flags:"), 8, 64)
		if flags&unix.O_NONBLOCK != 0 {
			t.Errorf("descriptor %s does not block", fd.Name())
		}
	}
	if want := []string{"0", "1", "2"}; !slices.Equal(numbers, want) {
		t.Errorf("want descriptors %q, have %q", want, numbers)
	}
	if have, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/2", p.Pid)); have != os.DevNull {
		t.Errorf("want the null device for stderr, have %s", have)
	}
}

func read(t *testing.T, pid int, file string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEnvironmentIsExact(t *testing.T) {
	r := newReaper(t)
	env, err := Find("env", "/bin:/usr/bin")
	if err != nil {
		t.Skip(err)
	}
	for _, tc := range []struct {
		env  []string
		want string
	}{
		{nil, ""},
		{[]string{}, ""},
		{[]string{"A=1", "GETH_X=a b", "A=2"}, "A=1\nGETH_X=a b\nA=2\n"},
	} {
		have, _, err := r.Output(context.Background(), Command{Path: env, Args: []string{"env"}, Env: tc.env}, 1<<20)
		if err != nil || string(have) != tc.want {
			t.Errorf("want %q, have %q, %v", tc.want, have, err)
		}
	}
}

// program writes a file that is no good program.
func program(t *testing.T, content []byte, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
	return file
}

// tinyELF is the smallest ELF program that asks for a loader.
func tinyELF(machine uint16, loader string) []byte {
	b := make([]byte, 64+56)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 2) // ET_EXEC
	le.PutUint16(b[18:], machine)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[32:], 64) // the program headers
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	p := b[64:]
	le.PutUint32(p, 3) // PT_INTERP
	le.PutUint32(p[4:], 4)
	le.PutUint64(p[8:], uint64(len(b)))
	le.PutUint64(p[32:], uint64(len(loader)+1))
	le.PutUint64(p[40:], uint64(len(loader)+1))
	return append(append(b, loader...), 0)
}

func TestWhyItDoesNotStart(t *testing.T) {
	r := newReaper(t)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	machine := binary.LittleEndian.Uint16(self[18:])
	dir := t.TempDir()
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	plain := program(t, []byte("#!/bin/sh\n"), 0o755)
	inner := program(t, tinyELF(machine, "/no/such/loader.so"), 0o755)
	for _, tc := range []struct {
		name string
		file string
		dir  string
		want error
		text string
	}{
		{"not there", filepath.Join(dir, "absent"), "", ErrNotFound, "absent: not found"},
		{"below a file", plain + "/x", "", ErrNotFound, "not found"},
		{"a directory", dir, "", ErrNotExecutable, "it is a directory"},
		{"no x bit", program(t, []byte("#!/bin/sh\n"), 0o644), "", ErrNotExecutable, "chmod +x is missing"},
		{"a link to itself", loop, "", ErrNotExecutable, "symbolic links"},
		{"empty", program(t, nil, 0o755), "", ErrNotExecutable, "the file is empty"},
		{"text", program(t, []byte("hello\n"), 0o755), "", ErrNotExecutable, "neither an ELF program nor a script"},
		{"another machine", program(t, tinyELF(0xf3, "/lib/ld.so"), 0o755), "", ErrNotExecutable, "built for RISCV"},
		{"missing loader", program(t, tinyELF(machine, "/no/such/loader.so"), 0o755), "", ErrNotExecutable, "/no/such/loader.so"},
		{"missing interpreter", program(t, []byte("#!/no/such/sh -e\n"), 0o755), "", ErrNotExecutable, "/no/such/sh"},
		{"interpreter without its loader", program(t, []byte("#!"+inner+"\n"), 0o755), "", ErrNotExecutable, "/no/such/loader.so"},
		{"script from Windows", program(t, []byte("#!/bin/sh\r\n"), 0o755), "", ErrNotExecutable, `"/bin/sh\r"`},
		{"interpreter without x bit", program(t, []byte("#!"+program(t, []byte("x"), 0o644)+"\n"), 0o755), "", ErrNotExecutable, "permission denied"},
		{"no such working directory", plain, filepath.Join(dir, "absent"), nil, "working directory"},
		{"working directory is a file", plain, plain, nil, "working directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file, err := Find(tc.file, "")
			if err == nil {
				_, err = r.Start(context.Background(), Command{Path: file, Args: []string{file}, Dir: tc.dir})
			}
			if err == nil {
				t.Fatal("it starts")
			}
			if tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("want %v, have %v", tc.want, err)
			}
			if tc.want == nil && (errors.Is(err, ErrNotFound) || errors.Is(err, ErrNotExecutable)) {
				t.Errorf("the program is fine, and it says %v", err)
			}
			if !strings.Contains(err.Error(), tc.text) || strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("want one line with %q, have %q", tc.text, err)
			}
		})
	}
}

// A program that Find saw may be gone when it is started.
func TestWhyItDoesNotStartAnyMore(t *testing.T) {
	r := newReaper(t)
	for _, tc := range []struct {
		name string
		file string
		want error
	}{
		{"gone", filepath.Join(t.TempDir(), "absent"), ErrNotFound},
		{"below a file", "/proc/version/x", ErrNotFound},
		{"a directory", "/", ErrNotExecutable},
		{"no x bit", program(t, nil, 0o600), ErrNotExecutable},
	} {
		if _, err := r.Start(context.Background(), Command{Path: tc.file, Args: []string{"x"}}); !errors.Is(err, tc.want) {
			t.Errorf("%s: want %v, have %v", tc.name, tc.want, err)
		}
	}
}

func TestStartsWhatIsBeingWritten(t *testing.T) {
	r := newReaper(t)
	file := program(t, []byte("#!/bin/sh\nexit 5\n"), 0o755)
	busy, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for { // once it has been refused at least once
			r.mu.Lock()
			under := r.starting
			r.mu.Unlock()
			if under > 0 {
				busy.Close()
				return
			}
		}
	}()
	p, err := r.Start(context.Background(), Command{Path: file, Args: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	if have := ended(t, p); have.Code != 5 {
		t.Error(have)
	}
}

func TestFind(t *testing.T) {
	good, plain, none := t.TempDir(), t.TempDir(), t.TempDir()
	for _, f := range []struct {
		file string
		mode os.FileMode
	}{
		{filepath.Join(good, "both"), 0o755},
		{filepath.Join(plain, "both"), 0o644},
		{filepath.Join(plain, "data"), 0o644},
	} {
		if err := os.WriteFile(f.file, nil, f.mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(plain, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(good)
	for _, tc := range []struct {
		name, path string
		want       string
		err        error
	}{
		{"both", plain + ":" + good, filepath.Join(good, "both"), nil},
		{"both", none + ":" + plain, "", ErrNotExecutable},
		{"both", ":" + plain, "both", nil}, // an empty entry is the working directory
		{"data", plain + ":" + none, "", ErrNotExecutable},
		{"dir", plain, "", ErrNotExecutable},
		{"absent", plain + ":" + good, "", ErrNotFound},
		{"absent", "", "", ErrNotFound},
		{"", good, "", ErrNotFound},
		{"./both", "", "./both", nil},
		{filepath.Join(good, "absent"), good, "", ErrNotFound},
	} {
		have, err := Find(tc.name, tc.path)
		if !errors.Is(err, tc.err) || err == nil && filepath.Clean(have) != filepath.Clean(tc.want) {
			t.Errorf("Find(%q, %q): want %q, %v, have %q, %v", tc.name, tc.path, tc.want, tc.err, have, err)
		}
	}
}

func TestChildrenByScan(t *testing.T) {
	r := newReaper(t)
	p, end := cat(t, r, Command{})
	defer end()
	if have := childrenByScan(); !slices.Equal(have, []int{p.Pid}) {
		t.Errorf("want %d, have %v", p.Pid, have)
	}
}
