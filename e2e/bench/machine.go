package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine says where the numbers come from, in a line.
func machine(ctx context.Context, cs []contestant) string {
	said := []string{
		fmt.Sprintf("%d cores%s", runtime.NumCPU(), model()),
		kernel(),
		runtime.Version() + " " + runtime.GOARCH,
		time.Now().UTC().Format(time.DateOnly),
	}
	for _, c := range inits(cs) {
		said = append(said, c.name+" "+c.version(ctx))
	}
	return strings.Join(said, " · ")
}

func model() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range bytes.Lines(b) {
		if key, name, ok := bytes.Cut(line, []byte(":")); ok && strings.TrimSpace(string(key)) == "model name" {
			return " (" + strings.TrimSpace(string(name)) + ")"
		}
	}
	return "" // arm64 does not tell
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "Linux"
	}
	return "Linux " + unix.ByteSliceToString(u.Release[:])
}
