// Command late is a node that takes its time to start, as one does that opens a
// large database: it waits, and then is the node of the image. Asked for its
// version it answers at once, as those do.
package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

const (
	node = "/usr/local/bin/wemixd"
	wait = 20 * time.Second
)

func main() {
	if len(os.Args) != 2 || os.Args[1] != "version" {
		fmt.Println("late: opening the database")
		time.Sleep(wait)
	}
	err := syscall.Exec(node, os.Args, os.Environ())
	fmt.Fprintln(os.Stderr, "late:", err)
	os.Exit(1)
}
