package api

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// certificate is read again when its files have changed: they are renewed by
// others, who send us no signal.
type certificate struct {
	certFile, keyFile string
	logger            log.Logger

	now atomic.Pointer[tls.Certificate]

	mu   sync.Mutex // one handshake looks, the others take what there is
	seen [2]stamp
	at   time.Time
}

// stamp is how a file is known to be the same as before.
type stamp struct {
	size     int64
	modified time.Time
}

// lookEvery keeps a flood of handshakes from becoming a flood of stat(2).
const lookEvery = time.Second

// load reads both files. On an error the certificate stays what it was.
func (c *certificate) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read(c.stamps())
}

func (c *certificate) read(seen [2]stamp) error {
	c.seen, c.at = seen, time.Now()
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("read certificate %s and key %s: %w", c.certFile, c.keyFile, err)
	}
	c.now.Store(&pair)
	return nil
}

func (c *certificate) stamps() (seen [2]stamp) {
	for i, file := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(file); err == nil {
			seen[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return seen
}

// get is asked in each handshake.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.mu.TryLock() {
		if time.Since(c.at) >= lookEvery {
			c.at = time.Now()
			if seen := c.stamps(); seen != c.seen {
				if err := c.read(seen); err != nil { // half renewed; the other file's change brings us back
					level.Warn(c.logger).Log("msg", "new certificate not read; keeping the old one", "err", err)
				} else {
					level.Info(c.logger).Log("msg", "certificate renewed", "file", c.certFile)
				}
			}
		}
		c.mu.Unlock()
	}
	return c.now.Load(), nil
}
