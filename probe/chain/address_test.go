package chain

import "testing"

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, address string
		want          target
		wrong         bool
	}{
		{"host and port", "localhost:8545", target{viaHTTP, "http://localhost:8545"}, false},
		{"port alone", ":8545", target{viaHTTP, "http://:8545"}, false},
		{"IPv6", "[::1]:8588", target{viaHTTP, "http://[::1]:8588"}, false},
		{"http", "http://node:8545/path", target{viaHTTP, "http://node:8545/path"}, false},
		{"https", "https://node", target{viaHTTP, "https://node"}, false},
		{"ws", "ws://node:8546", target{viaWS, "ws://node:8546"}, false},
		{"wss", "wss://node", target{viaWS, "wss://node"}, false},
		{"socket", "/data/geth.ipc", target{viaIPC, "/data/geth.ipc"}, false},
		{"relative socket", "data/geth.ipc", target{viaIPC, "data/geth.ipc"}, false},
		{"absolute path of another name", "/run/node.sock", target{viaIPC, "/run/node.sock"}, false},
		{"nothing", "", target{}, true},
		{"no port", "localhost", target{}, true},
		{"empty port", "localhost:", target{}, true},
		{"another scheme", "ftp://node", target{}, true},
		{"no host", "http://", target{}, true},
		{"not a URL", "http://[", target{}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			have, err := parseAddress(tc.address)
			if (err != nil) != tc.wrong {
				t.Fatalf("want wrong %v, have %v", tc.wrong, err)
			}
			if have != tc.want {
				t.Fatalf("want %v, have %v", tc.want, have)
			}
			if (CheckAddress(tc.address) != nil) != tc.wrong {
				t.Fatal("CheckAddress disagrees")
			}
		})
	}
}

func TestLogsDoNotHoldTheKey(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://key@host:1/x":                               "https://xxxxx@host:1/x",
		"https://user:pass@host":                             "https://xxxxx@host",
		"localhost:8545":                                     "localhost:8545",
		"/data/geth.ipc":                                     "/data/geth.ipc",
		"https://host/v3?key=value":                          "https://host/v3?xxxxx",
		"wss://u:p@host/?a=b&c=d":                            "wss://xxxxx@host/?xxxxx",
		"https://host/v3/0123456789abcdef0123456789abcdef/x": "https://host/v3/xxxxx/x",
		"http://host:8545":                                   "http://host:8545",
	} {
		if have := Redacted(address); want != have {
			t.Errorf("want %s, have %s", want, have)
		}
	}
}
