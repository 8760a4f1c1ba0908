package chain

import "testing"

func TestKind(t *testing.T) {
	t.Parallel()
	istanbul := map[string]string{"eth": "1.0", "istanbul": "1.0"}
	few := map[string]string{"net": "1.0", "web3": "1.0"}
	for _, tc := range []struct {
		name, version string
		modules       map[string]string
		want          string
	}{
		{"geth", "Geth/v1.16.9-stable-95665d57/linux-amd64/go1.26", few, Geth},
		{"quorum says so itself", "Geth/v1.10.3-stable-0d4a719f(quorum-v24.4.1)/linux-amd64/go1.26.8", few, QBFT},
		{"go-wemix has no istanbul", "Gwemix/v0.10.9-stable-6eda207f/linux-amd64/go1.26.8", nil, Wemix},
		{"newer go-wbft under the same name", "Gwemix/v1.2.0-stable/linux-amd64/go1.26.8", few, WBFT},
		{"any gwemix with istanbul", "Gwemix/v0.99.0-unstable/linux-amd64/go1.26.8", istanbul, WBFT},
		{"older go-wbft calls itself geth", "Geth/v1.13.0-stable/linux-amd64/go1.26.8", istanbul, WBFT},
		{"gstable over HTTP", "Gstable/v1.0.1-stable-940e9f28/linux-amd64/go1.26.8", few, WBFT},
		{"a stranger", "Nethermind/v1.25", nil, Geth},
		{"nothing said", "", nil, Geth},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if have := kindOf(tc.version, tc.modules); have != tc.want {
				t.Fatalf("want %q, have %q", tc.want, have)
			}
		})
	}
}

func TestDiffers(t *testing.T) {
	t.Parallel()
	was := Facts{ChainID: 1337, Genesis: "0xaa"}
	for _, tc := range []struct {
		name string
		was  Facts
		id   identity
		want string
	}{
		{"the same", was, identity{chainID: 1337, genesis: "0xaa"}, ""},
		{"first meeting", Facts{}, identity{chainID: 1, genesis: "0xbb"}, ""},
		{"a node that does not tell", was, identity{}, ""},
		{"another chain id", was, identity{chainID: 1, genesis: "0xaa"}, "chain id 1 was 1337"},
		{"another genesis", was, identity{chainID: 1337, genesis: "0xbb"}, "genesis 0xbb was 0xaa"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if have := tc.id.differs(tc.was); have != tc.want {
				t.Fatalf("want %q, have %q", tc.want, have)
			}
		})
	}
}

func TestSyncing(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, answer string
		is           bool
		highest      uint64
	}{
		{"false", `false`, false, 0},
		{"behind", `{"currentBlock":"0x1","highestBlock":"0x64","startingBlock":"0x0"}`, true, 100},
		{"an object without sense", `{"highestBlock":7}`, true, 0},
		{"nothing", ``, false, 0},
		{"null", `null`, false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if is, highest := syncing([]byte(tc.answer)); is != tc.is || highest != tc.highest {
				t.Fatalf("want %v %d, have %v %d", tc.is, tc.highest, is, highest)
			}
		})
	}
}

func TestBestHeight(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, kind, answer string
		want               uint64
	}{
		{"no peers", Geth, `[]`, 0},
		{"peers that don't say", Geth, `[{"protocols":{"eth":{"version":68},"snap":{"version":1}}},{"protocols":{"eth":"handshake"}}]`, 0},
		{"a liar among three", Geth, `[{"protocols":{"eth":{"latestBlock":10}}},{"protocols":{"eth":{"latestBlock":99999999}}},{"protocols":{"eth":{"latestBlock":12}}}]`, 12},
		{"the lower of two", Geth, `[{"protocols":{"eth":{"latestBlock":10}}},{"protocols":{"eth":{"latestBlock":12}}}]`, 10},
		{"members of a go-wemix network", Wemix, `[{"name":"w1","latestBlockHeight":156},{"name":"w2","latestBlockHeight":158}]`, 158},
		{"garbage", Wemix, `{"a":1}`, 0},
		{"null", Geth, `null`, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if have := best(tc.kind, []byte(tc.answer)); have != tc.want {
				t.Fatalf("want %d, have %d", tc.want, have)
			}
		})
	}
}
