//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// depot offers the images' nodes over https, to containers that know its authority.
type depot struct {
	url string
	ca  []byte // PEM

	mu     sync.Mutex
	cut    int64    // of the next answer, so many bytes and no more; 0: all
	ranges []string // what each request wanted; empty: all of it
}

// openDepot opens a depot; it closes with the test.
func openDepot(t *testing.T) *depot {
	t.Helper()
	ln := gateway(t)
	ip := ln.Addr().(*net.TCPAddr).IP
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	self := x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{ip}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, &self, &self, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	d := &depot{url: "https://" + ln.Addr().String(), ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	srv := &http.Server{
		Handler:   http.HandlerFunc(d.serve),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
	}
	go srv.ServeTLS(ln, "", "") // ends with Close
	t.Cleanup(func() { srv.Close() })
	return d
}

func (d *depot) serve(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	cut := d.cut
	d.cut, d.ranges = 0, append(d.ranges, r.Header.Get("Range"))
	d.mu.Unlock()
	if cut > 0 {
		w = &cutter{w, cut}
	}
	http.ServeFile(w, r, nodes+r.URL.Path)
}

// cutAt has the next answer end after so many bytes.
func (d *depot) cutAt(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut = bytes
}

// wanted returns what was asked for so far.
func (d *depot) wanted() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string{}, d.ranges...)
}

// cutter breaks the connection off after some bytes.
type cutter struct {
	http.ResponseWriter
	left int64
}

func (c *cutter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b[:min(int64(len(b)), c.left)])
	if c.left -= int64(n); c.left <= 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler) // the way to end an answer early
	}
	return n, err
}

// checksum is that of one of the nodes.
func checksum(t *testing.T, name string) string {
	t.Helper()
	sum := sha256.Sum256(node(t, name))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// trigger is an upgrade-info.json for one of the nodes, as it is at that URL.
func trigger(t *testing.T, name string, height uint64, node, url string, hook any) []byte {
	t.Helper()
	info := map[string]any{
		"binaries":  map[string]string{"any": url + "/" + node + "/wemixd"},
		"checksums": map[string]string{"any": checksum(t, node)},
	}
	if hook != nil {
		info["hook"] = hook
	}
	text, err := json.Marshal(map[string]any{"name": name, "height": strconv.FormatUint(height, 10), "info": info})
	if err != nil {
		t.Fatal(err)
	}
	return text
}
