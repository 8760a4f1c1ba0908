package reaper

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// linger is how long the pipe may stay open after the helper has ended.
const linger = time.Second

// Output runs a helper to its end and returns how it ended and the first limit
// bytes of what it wrote to its standard output and error. When ctx ends first,
// its process group is killed.
func (r *Reaper) Output(ctx context.Context, cmd Command, limit int64) ([]byte, Exit, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, Exit{}, fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	defer read.Close()
	cmd.Stdout, cmd.Stderr = write, write
	p, err := r.Start(ctx, cmd)
	write.Close()
	if err != nil {
		return nil, Exit{}, err
	}
	text := make(chan []byte, 1)
	go func() { // ends with the pipe: when nobody holds it, or when we close our end
		b, _ := io.ReadAll(io.LimitReader(read, limit))
		_, _ = io.Copy(io.Discard, read)
		text <- b
	}()
	select {
	case <-p.Done():
	case <-ctx.Done():
		_ = p.Signal(syscall.SIGKILL)
		<-p.Done()
		err = fmt.Errorf("run %s: %w", cmd.Path, context.Cause(ctx))
	}
	select {
	case b := <-text:
		return b, p.Exit(), err
	case <-time.After(linger): // a daemon it left behind holds the pipe
		read.Close()
		return <-text, p.Exit(), err
	}
}
