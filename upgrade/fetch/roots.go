package fetch

import (
	"crypto/x509"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Roots makes the certificate authorities that are built in those of this
// process, where the system has none: an image from scratch. What the system
// has wins, and so does SSL_CERT_FILE.
//
// It is a call and not an import for its side effect, because parsing them
// doubles the time that a program takes to start, and most of ours are a probe
// that talks to nobody. The bundle must not be linked in the other way too: they
// can be set once.
var Roots = sync.OnceFunc(func() {
	pool := x509.NewCertPool()
	for root := range bundle.Roots() {
		cert, err := x509.ParseCertificate(root.Certificate)
		switch {
		case err != nil: // one that this Go does not know is one that we do not trust
		case root.Constraint == nil:
			pool.AddCert(cert)
		default:
			pool.AddCertWithConstraint(cert, root.Constraint)
		}
	}
	x509.SetFallbackRoots(pool)
})
