package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// pathMax is what fits into sockaddr_un with its final zero, unix(7).
const pathMax = 107

// Listen binds the control socket, readable and writable by us alone. Whatever
// stands there is replaced: the home's lock says that nobody uses it. Where the
// file system refuses sockets it is [Fallback].
func Listen(path string) (net.Listener, string, error) {
	ln, err := listen(path)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.ENOSYS) {
		other := Fallback(path)
		if ln, ferr := listen(other); ferr == nil {
			return ln, other, nil
		}
	}
	if err != nil {
		return nil, "", fmt.Errorf("open control socket %s: %w", path, err)
	}
	return ln, path, nil
}

// Fallback is where the socket of a home lies whose file system has none.
func Fallback(path string) string {
	sum := sha256.Sum256([]byte(filepath.Dir(filepath.Dir(path))))
	return fmt.Sprintf("/tmp/wemixvisor-%x.sock", sum[:8])
}

// private opens sockets whose file is never open to others: bind(2) makes it with
// the mode of the socket. The umask would be that of all threads, and of a node
// that happens to be started then.
var private = net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
	cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) })
	if err == nil {
		err = cerr
	}
	return err
}}

func listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	name, done, err := reachable(path)
	if err != nil {
		return nil, err
	}
	defer done()
	ln, err := private.Listen(context.Background(), "unix", name)
	if err != nil {
		return nil, err
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // its name may be the short one
	return ln, nil
}

// Dial connects to the control socket at path, or to its fallback.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	conn, err := dial(ctx, path)
	if err == nil {
		return conn, nil
	}
	if conn, ferr := dial(ctx, Fallback(path)); ferr == nil {
		return conn, nil
	}
	return nil, err
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	name, done, err := reachable(path)
	if err != nil {
		return nil, err
	}
	defer done()
	return new(net.Dialer).DialContext(ctx, "unix", name)
}

// reachable returns a name for path that the kernel accepts: a long one goes
// through a descriptor of its directory.
func reachable(path string) (name string, done func(), err error) {
	if len(path) <= pathMax {
		return path, func() {}, nil
	}
	fd, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	return "/proc/self/fd/" + strconv.Itoa(fd) + "/" + filepath.Base(path), func() { _ = unix.Close(fd) }, nil
}
