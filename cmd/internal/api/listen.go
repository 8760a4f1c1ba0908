package api

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendBuffer is how much of what a client does not read lies in the kernel,
// where it counts as our memory. The kernel doubles it.
const sendBuffer = 64 << 10

// ListenTCP opens address for the API.
func ListenTCP(ctx context.Context, address string) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) { // connections inherit it
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
		})
		if err == nil {
			err = cerr
		}
		return err
	}}
	return lc.Listen(ctx, "tcp", address)
}
