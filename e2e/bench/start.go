package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"
)

// measureStart runs a child that ends when told: how long it takes to get
// there, and to get out again.
func measureStart(ctx context.Context, c contestant) (start, exit time.Duration, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	b, err := open(ctx, c, self, childRole, stampTask, startMark)
	if err != nil {
		return 0, 0, err
	}
	defer b.close()
	line, err := b.hear(patience)
	if err != nil {
		return 0, 0, err
	}
	var executed, born int64
	if _, err := fmt.Sscan(line, &executed, &born); err != nil {
		return 0, 0, b.fail("read its times", err)
	}
	time.Sleep(5 * time.Millisecond) // an init may have work left after the child's exec; the exit is not about that
	if err := b.tell("end"); err != nil {
		return 0, 0, err
	}
	if err := b.wait(); err != nil {
		return 0, 0, err
	}
	gone := clock()
	if line, err = b.hear(patience); err != nil {
		return 0, 0, err
	}
	ended, err := strconv.ParseInt(line, 10, 64)
	if err != nil {
		return 0, 0, b.fail("read its times", err)
	}
	return time.Duration(born - executed), time.Duration(gone - ended), nil
}
