package chain

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
)

// watch runs a follower on a node and returns a function that waits for a view.
func watch(t *testing.T, cfg Config) (*Follower, func(what string, want func(Consensus) bool) Consensus) {
	t.Helper()
	news := make(chan struct{}, 1)
	cfg.OnConsensus = func(Consensus) {
		select {
		case news <- struct{}{}:
		default:
		}
	}
	f, _ := run(t, cfg)
	f.NodeStarted(time.Now())
	return f, func(what string, want func(Consensus) bool) Consensus {
		t.Helper()
		late := time.After(deadline)
		for {
			if c := f.Consensus(); want(c) {
				return c
			}
			select {
			case <-news:
			case <-late:
				t.Fatalf("want %s, have %+v", what, f.Consensus())
			}
		}
	}
}

func known(c Consensus) bool { return c.Known }

func TestRecordedNetworks(t *testing.T) {
	t.Parallel()
	const self = "0x287a797527934fd82b0ce97ffb31d92afabc1e7c"
	for _, tc := range []struct {
		file, kind, self     string
		height               uint64
		validators, active   int
		quorum, window, late int
		epoch                uint64
		version              string // of the head's proposer
		after                time.Duration
		may                  bool
		reason               string // part of it
		harm                 string
		fork                 string
	}{
		{
			file: "wbft-4validators.json", kind: WBFT, self: self, height: 59, validators: 4, active: 4,
			quorum: 3, window: 9, epoch: 10, version: "v1.0.1", fork: "applepie",
			after: 2 * time.Second, reason: "its turn comes at block 128", // the first of four, and the slot from 32 on is the second's
		},
		{
			file: "wbft-4validators.json", kind: WBFT, self: self, height: 59, validators: 4, active: 4,
			quorum: 3, window: 9, epoch: 10, version: "v1.0.1", fork: "applepie",
			after: 12 * time.Second, reason: "the head is not fresh",
		},
		{
			file: "wbft-one-of-4-down.json", kind: WBFT, self: self, height: 83, validators: 4, active: 3,
			quorum: 3, window: 9, late: 3, epoch: 10, version: "v1.0.1", fork: "boho",
			after: 2 * time.Second, reason: "only 3 of 4 validators seal and the quorum is 3: without this one it is 2",
			harm: "only 3 of 4 validators seal and the quorum is 3: without this one it is 2",
		},
		{
			file: "wbft-two-of-4-down-halted.json", kind: WBFT, self: self, height: 83, validators: 4, active: 3,
			quorum: 3, window: 9, late: 3, epoch: 10, version: "v1.0.1", fork: "boho",
			after: 25 * time.Second, may: true, reason: "the chain stands since block 83: nothing is left to halt",
		},
		{
			file: "qbft-quorum.json", kind: QBFT, self: self, height: 64, validators: 1, active: 1,
			quorum: 1, window: 1, epoch: 100, version: "v1.10.3", fork: "muirGlacier",
			after: 2 * time.Second, may: true, reason: "of 1 validator none can be spared",
			harm: "the chain stands while the node is down: of 1 validator none can be spared",
		},
		{
			file: "wemix-spoa-governed.json", kind: Wemix, self: "0xd8cfd1aee5953424f7af619447881ce51099e069", height: 156, validators: 1, active: 1,
			quorum: 1, window: 1, version: "v0.10.9", fork: "brioche",
			after: 2 * time.Second, may: true, reason: "of 1 member of etcd none can be spared; the node leads etcd",
			harm: "the chain stands while the node is down: of 1 member of etcd none can be spared",
		},
		{
			file: "wemix-spoa-before-governance.json", kind: Wemix, height: 74, fork: "pangyo",
			after: 2 * time.Second, may: true, reason: "no governance to ask about: admin_wemixInfo: method handler crashed",
		},
	} {
		t.Run(tc.file+" after "+tc.after.String(), func(t *testing.T) {
			t.Parallel()
			r := record(t, tc.file)
			_, wait := watch(t, Config{Address: r.http(t), Downtime: 20 * time.Second})
			c := wait("a view", known)
			if c.Kind != tc.kind || c.Self != tc.self || c.Head.Number != tc.height || c.IsValidator() != (tc.self != "") {
				t.Errorf("want %s at %d as %s, have %s at %d as %s", tc.kind, tc.height, tc.self, c.Kind, c.Head.Number, c.Self)
			}
			if len(c.Validators) != tc.validators || c.Active() != tc.active || c.Quorum != tc.quorum {
				t.Errorf("want %d of %d active and a quorum of %d, have %d of %d, %d: %+v",
					tc.active, tc.validators, tc.quorum, c.Active(), len(c.Validators), c.Quorum, c.Validators)
			}
			if c.Window != tc.window || c.Late != tc.late || c.EpochLength != tc.epoch {
				t.Errorf("want %d of %d late, epochs of %d, have %d of %d, %d", tc.late, tc.window, tc.epoch, c.Late, c.Window, c.EpochLength)
			}
			if tc.validators > 0 && c.BlockPeriod != time.Second {
				t.Errorf("want a block a second, have %s", c.BlockPeriod)
			}
			if have := c.Versions()[tc.version]; tc.version != "" && have != 1 {
				t.Errorf("want the proposer's version %s, have %v", tc.version, c.Versions())
			}
			if !slices.ContainsFunc(c.Forks, func(f Fork) bool { return f.Name == tc.fork }) {
				t.Errorf("want fork %s, have %v", tc.fork, c.Forks)
			}
			// Recorded long ago: the moments are reckoned from the head.
			now := c.Head.Time.Add(tc.after)
			c.Head.Seen, c.Asked = c.Head.Time, now
			may, reason := c.MayStop(now)
			if may != tc.may || !strings.Contains(reason, tc.reason) {
				t.Errorf("want %v, %q, have %v, %q", tc.may, tc.reason, may, reason)
			}
			if have := c.Harm(now); have != tc.harm {
				t.Errorf("want harm %q, have %q", tc.harm, have)
			}
			for _, q := range r.questions("istanbul") {
				if strings.Contains(q, "latest") {
					t.Errorf("want explicit heights, have %s", q)
				}
			}
		})
	}
}

// TestVanityIsWhatTheNodePrints compares what we read out of the header with
// what the node makes of it.
func TestVanityIsWhatTheNodePrints(t *testing.T) {
	t.Parallel()
	r := record(t, "wbft-4validators.json")
	var extra struct {
		Vanity string `json:"vanityData"`
	}
	var block sealedHeader
	for k, v := range map[string]any{`istanbul_getWbftExtraInfo ["0x3a"]`: &extra, `eth_getBlockByNumber ["0x3b",false]`: &block} {
		if err := json.Unmarshal(r.said[k].Result, v); err != nil {
			t.Fatal(k, err)
		}
	}
	if have := vanity(block.Extra); have == "" || !strings.Contains(extra.Vanity, "version: "+have+",") {
		t.Fatalf("want the version of %q, have %q", extra.Vanity, have)
	}
}

func TestSignersAreCapitalised(t *testing.T) {
	t.Parallel()
	r := record(t, "wbft-one-of-4-down.json", "istanbul_status")
	_, wait := watch(t, Config{Address: r.http(t), ConsensusEvery: time.Millisecond})
	wait("a view", known)
	r.answer("istanbul_getValidators", func(...any) (any, error) { return r.said["istanbul_getValidators []"].Result, nil })
	// Only block 82 was recorded with its signers, and 83 with its proposer; the
	// window is 80 to 83.
	r.answer("istanbul_getCommitSignersFromBlock", func(params ...any) (any, error) {
		return r.said[`istanbul_getCommitSignersFromBlock ["0x52"]`].Result, nil
	})
	r.answer("eth_getBlockByNumber", func(params ...any) (any, error) {
		var block map[string]any
		json.Unmarshal(r.said[`eth_getBlockByNumber ["0x53",false]`].Result, &block)
		if params[0] != "latest" {
			block["number"] = params[0]
		} else {
			block["number"], block["hash"] = "0x54", hash(84)
		}
		return block, nil
	})
	c := wait("the next block", func(c Consensus) bool { return c.Head.Number == 84 })
	if c.Active() != 3 || c.Validators[2].Active {
		t.Fatalf("want the three that committed, have %+v", c.Validators)
	}
}

func TestMissingConsensusMethods(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, file string
		without    []string
		kind       string
		logged     []string // once each
		mayStop    bool
	}{
		{
			"all of WBFT", "wbft-4validators.json",
			[]string{"istanbul_nodeAddress", "istanbul_getValidators", "istanbul_status", "istanbul_getCommitSignersFromBlock"},
			"",
			[]string{"istanbul_nodeAddress", "istanbul_getValidators"}, // without these nobody asks for the others
			true,
		},
		{"the list", "wbft-4validators.json", []string{"istanbul_getValidators"}, "", []string{"istanbul_getValidators"}, true},
		{"the status", "wbft-4validators.json", []string{"istanbul_status"}, WBFT, []string{"istanbul_status"}, false},
		{"both ways to tell who seals", "qbft-quorum.json", []string{"istanbul_status", "istanbul_getSignersFromBlock"}, QBFT, []string{"istanbul_status", "istanbul_getSignersFromBlock"}, true},
		{"the node's chain config", "wbft-4validators.json", []string{"admin_nodeInfo"}, WBFT, []string{"admin_nodeInfo"}, false},
		{"all of go-wemix", "wemix-spoa-governed.json", []string{"admin_wemixInfo", "admin_wemixNodes", "debug_etcdGet"}, "", []string{"admin_wemixInfo", "admin_wemixNodes", "debug_etcdGet"}, true},
		{"the token", "wemix-spoa-governed.json", []string{"debug_etcdGet"}, Wemix, []string{"debug_etcdGet"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := record(t, tc.file, tc.without...)
			var logged logBuffer
			f, wait := watch(t, Config{Address: r.http(t), ConsensusEvery: time.Millisecond, Logger: log.NewLogfmtLogger(&logged)})
			c := wait("a view", known)
			asked := c.Asked
			if tc.kind != "" { // several polls, and still one line
				for range 3 {
					asked = wait("another", func(c Consensus) bool { return c.Asked.After(asked) }).Asked
				}
			}
			if c.Kind != tc.kind {
				t.Errorf("want kind %q, have %q (%s)", tc.kind, c.Kind, c.Err)
			}
			now := c.Head.Time.Add(time.Second)
			c.Head.Seen, c.Asked = c.Head.Time, now
			if tc.kind == "" {
				now = c.Started.Add(time.Second)
			}
			if have, reason := c.MayStop(now); have != tc.mayStop {
				t.Errorf("want may stop %v, have %v: %s", tc.mayStop, have, reason)
			}
			for _, m := range tc.logged {
				if have := strings.Count(logged.String(), "method="+m+" "); have != 1 {
					t.Errorf("want one line about %s, have %d in\n%s", m, have, logged.String())
				}
			}
			for line := range strings.Lines(logged.String()) {
				if strings.Contains(line, "level=warn") || strings.Contains(line, "method=istanbul") && !slices.ContainsFunc(tc.logged, func(m string) bool { return strings.Contains(line, m) }) {
					t.Errorf("want no line %s", line)
				}
			}
			// The next process is told about anew, with one line again.
			f.NodeStarted(time.Now().Add(time.Second))
			wait("a view of the next process", func(n Consensus) bool { return n.Known && n.Started.After(c.Started) })
			if have := strings.Count(logged.String(), "method="+tc.logged[0]+" "); have != 2 {
				t.Errorf("want one line per process, have %d in\n%s", have, logged.String())
			}
		})
	}
}

func TestCliqueThatTellsLittle(t *testing.T) {
	t.Parallel()
	say := func(answer any) func(...any) (any, error) {
		return func(...any) (any, error) { return answer, nil }
	}
	fail := func(text string) func(...any) (any, error) {
		return func(...any) (any, error) { return nil, &refusal{-32000, text} }
	}
	self := lists(3)[1]
	for _, tc := range []struct {
		name     string
		offers   []string
		coinbase func(...any) (any, error)
		kind     string
		member   bool
		err      string
		logged   []string
	}{
		{"no method at all", nil, nil, "", false, "the node does not offer clique_getSigners", []string{"clique_getSigners"}},
		{"only the list", []string{"clique_getSigners"}, nil, "", false, "the node does not offer clique_getSigner", []string{"clique_getSigner", "clique_status", "eth_coinbase"}},
		{"who it is not", []string{"clique_getSigners", "clique_getSigner"}, nil, Clique, false, "the node does not tell which signer it is", []string{"clique_status", "eth_coinbase"}},
		{"a signer", []string{"clique_getSigners", "clique_getSigner", "eth_coinbase"}, say("0x" + strings.ToUpper(self[2:])), Clique, true, "", []string{"clique_status"}},
		{"one that seals nothing", []string{"clique_getSigners", "clique_getSigner", "eth_coinbase"}, fail("etherbase must be explicitly specified"), Clique, false, "", []string{"clique_status"}},
		{"one that says nothing", []string{"clique_getSigners", "clique_getSigner", "eth_coinbase"}, say(nil), "", false, "eth_coinbase: no address", nil},
		{"one that won't say", []string{"clique_getSigners", "clique_getSigner", "eth_coinbase"}, fail("busy"), "", false, "eth_coinbase: busy", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := record(t, "wemix-spoa-governed.json")
			r.register(t, "clique", nothingAPI{})
			for _, m := range tc.offers {
				namespace, _, _ := strings.Cut(m, "_")
				r.register(t, namespace, r.methods()[m])
			}
			r.answer("web3_clientVersion", say("Geth/v1.13.15-stable/linux-amd64/go1.26"))
			r.answer("clique_getSigners", say(lists(3)))
			r.answer("clique_getSigner", say(self))
			if tc.coinbase != nil {
				r.answer("eth_coinbase", tc.coinbase)
			}
			var logged logBuffer
			_, wait := watch(t, Config{Address: r.http(t), ConsensusEvery: time.Millisecond, Logger: log.NewLogfmtLogger(&logged)})
			c := wait("a view", func(c Consensus) bool { return c.Known || c.Err != "" })
			if c.Known && c.Kind != tc.kind || c.IsValidator() != tc.member || c.Err != tc.err {
				t.Errorf("want %q, %v, %q, have %+v", tc.kind, tc.member, tc.err, c)
			}
			for _, m := range tc.logged {
				if have := strings.Count(logged.String(), "method="+m+" "); have != 1 {
					t.Errorf("want one line about %s, have %d in\n%s", m, have, logged.String())
				}
			}
		})
	}
}

func TestConsensusThatMakesNoSense(t *testing.T) {
	t.Parallel()
	refuse := func(...any) (any, error) { return nil, &refusal{-32000, "unknown block"} }
	garbage := func(...any) (any, error) { return map[string]any{"a": []int{1}}, nil }
	null := func(...any) (any, error) { return nil, nil }
	for _, tc := range []struct {
		name, method string
		answer       func(...any) (any, error)
		err          string // of the view; empty: it is known all the same
	}{
		{"an unknown block", "istanbul_getValidators", refuse, "unknown block"},
		{"garbage for a list", "istanbul_getValidators", garbage, "istanbul_getValidators: json: cannot unmarshal"},
		{"nothing for a list", "istanbul_getValidators", null, "no validators"},
		{"no addresses", "istanbul_getValidators", func(...any) (any, error) { return []string{"0x12\n", "x"}, nil }, "a validator that is no address: 0x12"},
		{"too many", "istanbul_getValidators", func(...any) (any, error) { return lists(5000), nil }, "a list of 5000 validators"},
		{"an answer too large", "istanbul_getValidators", func(...any) (any, error) { return strings.Repeat("x", maxAnswer), nil }, "larger than 4 MiB"},
		{"another number each time", "istanbul_getValidators", growing(), "changes with each answer"},
		{"garbage for a status", "istanbul_status", garbage, ""},
		{"a refused status", "istanbul_status", refuse, ""},
		{"nothing for a status", "istanbul_status", null, ""},
		{"garbage for its address", "istanbul_nodeAddress", garbage, "istanbul_nodeAddress: json: cannot unmarshal"},
		{"no address of its own", "istanbul_nodeAddress", func(...any) (any, error) { return "0x", nil }, "istanbul_nodeAddress: no address"},
		{"an error for its address", "istanbul_nodeAddress", refuse, "unknown block"},
		{"garbage for its config", "admin_nodeInfo", garbage, ""},
		{"a list for its config", "admin_nodeInfo", func(...any) (any, error) { return []any{1, nil, "x"}, nil }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := record(t, "wbft-4validators.json")
			r.answer(tc.method, tc.answer)
			f, wait := watch(t, Config{Address: r.http(t), ConsensusEvery: time.Millisecond})
			if tc.err == "" {
				if c := wait("a view", known); c.Kind != WBFT || len(c.Validators) != 4 {
					t.Fatalf("want the four validators, have %+v", c)
				}
				return
			}
			c := wait("an error", func(c Consensus) bool { return c.Err != "" })
			if !strings.Contains(c.Err, tc.err) || strings.Contains(c.Err, "\n") {
				t.Errorf("want one line with %q, have %q", tc.err, c.Err)
			}
			// Nobody knows what depends on it: it may not be stopped.
			if ok, reason := c.MayStop(c.Started.Add(time.Second)); ok || !strings.Contains(reason, "not known") {
				t.Errorf("want no, have %v, %q", ok, reason)
			}
			if !f.Facts().HeadKnown {
				t.Error("want the head all the same")
			}
			r.answer(tc.method, nil) // and it comes back to its senses
			wait("a view", known)
		})
	}
}

func growing() func(...any) (any, error) {
	n := 0
	return func(...any) (any, error) { n++; return lists(n % 50), nil }
}

func TestConsensusOfANodeThatFallsSilent(t *testing.T) {
	t.Parallel()
	r := record(t, "wbft-4validators.json")
	_, wait := watch(t, Config{Address: r.http(t), ConsensusEvery: time.Millisecond, Timeout: 50 * time.Millisecond})
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) }) // first of all: the server waits for its answers
	wait("a view", known)
	r.answer("eth_getBlockByNumber", func(...any) (any, error) { <-stuck; return nil, nil })
	c := wait("silence", func(c Consensus) bool { return !c.Silent.IsZero() })
	if len(c.Validators) != 4 || c.Err == "" || c.Errors == 0 {
		t.Errorf("want the last view and why there is no newer one, have %+v", c)
	}
	if ok, reason := c.MayStop(c.Silent.Add(50 * time.Second)); ok {
		t.Errorf("want no while it may come back, have %q", reason)
	}
	if ok, reason := c.MayStop(c.Silent.Add(70 * time.Second)); !ok || !strings.Contains(reason, "does not answer") {
		t.Errorf("want it open: silence never blocks a stop, have %v, %q", ok, reason)
	}
}
