// Command badnode is a node binary as nobody wants one. It runs the geth named in
// BADNODE_GETH, with the arguments it got, and misbehaves as BADNODE says:
//
//	silent     never starts the node, and lives on
//	still      leaves out --dev.period, so that no block comes
//	crash      dies BADNODE_AFTER after its start
//	exit=N     stops at the block BADNODE_HEIGHT, and exits N
//	hook=N     is no node but a pre-upgrade hook: it changes the data and exits N,
//	           or 77 where it finds its own change
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "version" {
		fmt.Println("Version: 9.9.9")
		return
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	how, args := os.Getenv("BADNODE"), os.Args[1:]
	if code, is := strings.CutPrefix(how, "hook="); is {
		hook(code)
	}
	switch how {
	case "silent":
		<-stop
		return
	case "still":
		args = without(args, "--dev.period")
	}
	node := exec.Command(os.Getenv("BADNODE_GETH"), args...)
	node.Stdout, node.Stderr = os.Stdout, os.Stderr
	if err := node.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ended := make(chan int, 1)
	go func() { _ = node.Wait(); ended <- node.ProcessState.ExitCode() }() // ends with the node
	var after <-chan time.Time
	if d, err := time.ParseDuration(os.Getenv("BADNODE_AFTER")); err == nil && how == "crash" {
		after = time.After(d)
	}
	reached := make(chan struct{})
	if strings.HasPrefix(how, "exit=") {
		go wait(os.Getenv("BADNODE_HEIGHT"), reached) // ends with us
	}
	select {
	case <-stop: // the whole group got it
		os.Exit(<-ended)
	case code := <-ended:
		os.Exit(code)
	case <-after:
		fmt.Fprintln(os.Stderr, "Fatal: badnode has had enough")
		_ = node.Process.Kill()
		<-ended
		os.Exit(2)
	case <-reached:
		_ = node.Process.Signal(syscall.SIGTERM)
		<-ended
		code, _ := strconv.Atoi(strings.TrimPrefix(how, "exit="))
		os.Exit(code)
	}
}

// hook leaves a file in the node's data. It ends the program.
func hook(code string) {
	n, err := strconv.Atoi(code)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	f, err := os.OpenFile(filepath.Join(os.Getenv("DAEMON_DATA_DIR"), "geth", "hooked"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "badnode was here:", err)
		os.Exit(77)
	}
	os.Exit(n)
}

func without(args []string, name string) []string {
	var left []string
	for _, a := range args {
		if !strings.HasPrefix(a, name) {
			left = append(left, a)
		}
	}
	return left
}

// wait closes reached when the node tells a head at height.
func wait(height string, reached chan<- struct{}) {
	want, _ := strconv.ParseUint(height, 10, 64)
	for ; ; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Post("http://127.0.0.1:8545", "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}`))
		if err != nil {
			continue
		}
		var answer struct{ Result string }
		_ = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		if have, err := strconv.ParseUint(strings.TrimPrefix(answer.Result, "0x"), 16, 64); err == nil && have >= want {
			close(reached)
			return
		}
	}
}
