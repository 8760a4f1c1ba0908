package chain

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
)

type transport int

const (
	viaHTTP transport = iota
	viaWS
	viaIPC
)

// target is a checked address: what to dial, and how.
type target struct {
	via transport
	url string // a path when via is viaIPC
}

// CheckAddress reports what is wrong with an address of a node's RPC.
func CheckAddress(address string) error {
	_, err := parseAddress(address)
	return err
}

// keyLength is from which on a part of a path may be a key.
const keyLength = 16

// Redacted is address as logs and people may see it: who hosts nodes for others
// puts the key before the host, into the path, or into the query.
func Redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil && u.Host == "" {
		return address
	}
	const hidden = "xxxxx"
	if u.User != nil {
		u.User = url.User(hidden)
	}
	if u.RawQuery != "" {
		u.RawQuery = hidden
	}
	parts := strings.Split(u.Path, "/")
	for i, part := range parts {
		if len(part) >= keyLength {
			parts[i] = hidden
		}
	}
	u.Path, u.RawPath = strings.Join(parts, "/"), ""
	return u.String()
}

func parseAddress(address string) (target, error) {
	if scheme, _, ok := strings.Cut(address, "://"); ok {
		u, err := url.Parse(address)
		if err != nil {
			return target{}, fmt.Errorf("parse RPC address: %w", err)
		}
		if u.Host == "" {
			return target{}, fmt.Errorf("parse RPC address %q: no host", u.Redacted())
		}
		switch scheme {
		case "http", "https":
			return target{viaHTTP, address}, nil
		case "ws", "wss":
			return target{viaWS, address}, nil
		}
		return target{}, fmt.Errorf("parse RPC address %q: want http, https, ws or wss", u.Redacted())
	}
	if strings.HasSuffix(address, ".ipc") || filepath.IsAbs(address) {
		return target{viaIPC, address}, nil
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return target{}, fmt.Errorf("parse RPC address %q: want host:port, a URL or the path of an .ipc socket", address)
	}
	return target{viaHTTP, "http://" + address}, nil
}
