package chain

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestForks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, answer string
		forks        string // name@height, name@time
		period       time.Duration
		epoch        uint64
	}{
		{
			"go-wemix before its last fork", `{"protocols":{"mir":{"config":{"chainId":1111,"pangyoBlock":0,"briocheBlock":53525500,"brioche":{"firstHalvingBlock":9},"croissantBlock":100000000}},"snap":{}}}`,
			"pangyo@0 brioche@53525500 croissant@100000000", 0, 0,
		},
		{
			"go-wbft", `{"protocols":{"eth":{"config":{"londonBlock":0,"croissantBlock":40}},"istanbul":{"config":{"londonBlock":0,"croissantBlock":40,"croissant":{"wBFT":{"blockPeriodSeconds":2,"epochLength":10}},"transitions":[{"block":500,"epochLength":20},{}],"upgrades":[{"block":600}]}}}}`,
			"london@0 croissant@40 transition@500 upgrade@600", 2 * time.Second, 10,
		},
		{
			"geth by time", `{"protocols":{"eth":{"config":{"londonBlock":5,"shanghaiTime":1700000000,"cancunTime":1690000000,"pragueTime":null,"terminalTotalDifficulty":0}}}}`,
			"london@5 cancun@1690000000 shanghai@1700000000", 0, 0,
		},
		{
			"clique", `{"protocols":{"eth":{"config":{"londonBlock":0,"clique":{"period":15,"epoch":30000}}}}}`,
			"london@0", 15 * time.Second, 30000,
		},
		{
			"no numbers", `{"protocols":{"eth":{"config":{"londonBlock":"x","berlinBlock":-1,"aBlock":1.5,"bTime":1e30,"clique":7,"qbft":[]}}}}`,
			"", 0, 0,
		},
		{"nothing", ``, "", 0, 0},
		{"a list", `[]`, "", 0, 0},
		{"null", `null`, "", 0, 0},
		{"protocols that are none", `{"protocols":{"eth":"handshake","istanbul":null}}`, "", 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := readNodeInfo(json.RawMessage(tc.answer))
			var forks []string
			for _, f := range cfg.forks {
				if f.Time.IsZero() {
					forks = append(forks, fmt.Sprintf("%s@%d", f.Name, f.Block))
				} else {
					forks = append(forks, fmt.Sprintf("%s@%d", f.Name, f.Time.Unix()))
				}
			}
			if have := strings.Join(forks, " "); have != tc.forks {
				t.Errorf("want %s, have %s", tc.forks, have)
			}
			if cfg.period != tc.period || cfg.epoch != tc.epoch {
				t.Errorf("want %s and %d, have %s and %d", tc.period, tc.epoch, cfg.period, cfg.epoch)
			}
		})
	}
}

func TestForksOfOneNodeAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&b, `,"%s%dBlock":%d`, strings.Repeat("x", 100), i, i)
	}
	cfg := readNodeInfo(json.RawMessage(`{"protocols":{"eth":{"config":{"chainId":1` + b.String() + `}}}}`))
	if len(cfg.forks) > maxForks || len(cfg.forks[0].Name) > 64 {
		t.Fatalf("want few and short, have %d, %q", len(cfg.forks), cfg.forks[0].Name)
	}
}

func TestForksAhead(t *testing.T) {
	t.Parallel()
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	forks := []Fork{{Name: "a", Block: 0}, {Name: "b", Block: 100}, {Name: "c", Block: 200}, {Name: "d", Time: at(1000)}, {Name: "e", Time: at(2000)}}
	names := func(forks []Fork) string {
		var s string
		for _, f := range forks {
			s += f.Name
		}
		return s
	}
	c := Consensus{Forks: forks, BlockPeriod: 2 * time.Second, Head: Head{Number: 99, Hash: hash(1), Time: at(800)}}
	for _, tc := range []struct {
		height uint64
		want   string
	}{{50, ""}, {99, ""}, {100, "b"}, {198, "b"}, {199, "bd"}, {200, "bcd"}, {1 << 60, "bcde"}} {
		if have := names(c.ForksUntil(tc.height)); have != tc.want {
			t.Errorf("to %d: want %q, have %q", tc.height, tc.want, have)
		}
	}
	if have := (Consensus{Forks: forks}).ForksUntil(100); have != nil {
		t.Errorf("want none where no head is known, have %v", have)
	}
	other := []Fork{{Name: "a", Block: 0}, {Name: "b", Block: 150}, {Name: "d", Time: at(1000).UTC()}}
	if have := names(ForksOnlyIn(forks, other)); have != "bce" {
		t.Errorf("want b, which moved, c and e, have %q", have)
	}
	data, err := json.Marshal(forks)
	if err != nil {
		t.Fatal(err)
	}
	var back []Fork
	if err := json.Unmarshal(data, &back); err != nil || len(ForksOnlyIn(forks, back)) > 0 {
		t.Errorf("want the same back, have %v, %v", back, err)
	}
}

func TestVanity(t *testing.T) {
	t.Parallel()
	geth := append([]byte{0xd8, 0x83, 0x01, 0x0d, 0x0f, 0x84}, "geth\x88go1.26.8\x85linux"...)
	padded := append(geth[:len(geth):len(geth)], make([]byte, 7+65)...)
	for _, tc := range []struct {
		name  string
		extra []byte
		want  string
	}{
		{"clique", padded, "v1.13.15"},
		{"geth", geth, "v1.13.15"},
		{"go-wemix", []byte("gwemix/v0.10.9/linux/go1.26.8"), "v0.10.9"},
		{"somebody's own words", []byte("Hello, world / nothing / here"), ""},
		{"a lie too long", []byte("gwemix/v" + strings.Repeat("1", 100) + "/linux"), ""},
		{"a version that breaks out of its line", []byte("gwemix/v0\n1/linux"), ""},
		{"genesis of clique", make([]byte, 32+60+65), ""},
		{"nothing", nil, ""},
		{"cut short", []byte{0xf9}, ""},
	} {
		if have := vanity(tc.extra); have != tc.want {
			t.Errorf("%s: want %q, have %q", tc.name, tc.want, have)
		}
	}
}

func TestQBFTRound(t *testing.T) {
	t.Parallel()
	r := record(t, "qbft-quorum.json")
	var block sealedHeader
	if err := json.Unmarshal(r.said[`eth_getBlockByNumber ["latest",false]`].Result, &block); err != nil {
		t.Fatal(err)
	}
	if round, ok := qbftRound(block.Extra); !ok || round != 0 {
		t.Errorf("want round 0, have %d, %v", round, ok)
	}
	third := []byte{0xc5, 0x80, 0xc0, 0xc0, 0x03, 0xc0}
	if round, ok := qbftRound(third); !ok || round != 3 {
		t.Errorf("want round 3, have %d, %v", round, ok)
	}
	if _, ok := qbftRound([]byte("gwemix")); ok {
		t.Error("want no round of another chain's block")
	}
}

// FuzzConsensus has every reader of what nodes say about consensus meet
// anything.
func FuzzConsensus(f *testing.F) {
	f.Add([]byte(`{"sealerActivity":{"0x287a797527934fd82b0ce97ffb31d92afabc1e7c":8},"numBlocks":8}`))
	f.Add([]byte(`{"sealerActivity":{"prevCommitted":{"0x287a797527934fd82b0ce97ffb31d92afabc1e7c":8}},"author":{},"roundStats":{"roundDistribution":{"0":7,"1":3}}}`))
	f.Add([]byte(`{"protocols":{"eth":{"config":{"londonBlock":5,"shanghaiTime":1700000000,"clique":{"period":15,"epoch":30000}}}}}`))
	f.Add([]byte(`{"blockInterval":1000,"self":{"name":"w1","addr":"0x287a797527934fd82b0ce97ffb31d92afabc1e7c"},"nodes":[{"name":"w1"}],"etcd":{"members":[{"name":"w1"}],"leader":{"name":"w1"}}}`))
	f.Add([]byte{0xd8, 0x83, 0x01, 0x0d, 0x0f, 0x84})
	f.Add([]byte("gwemix/v0.10.9/linux/go1.26.8"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if v := vanity(data); len(v) > 32 || strings.ContainsAny(v, "\n\x00 ") {
			t.Errorf("want a version, have %q", v)
		}
		qbftRound(data)
		for a, n := range readStatus(data).count {
			if _, ok := address(a); !ok || n <= 0 {
				t.Errorf("want addresses and counts, have %q: %d", a, n)
			}
		}
		if cfg := readNodeInfo(data); len(cfg.forks) > maxForks || cfg.period < 0 {
			t.Errorf("want it bounded, have %+v", cfg)
		}
		var info wemixInfo
		if json.Unmarshal(data, &info) == nil {
			p := producer(&info, nil, true, string(data))
			c := Consensus{Started: noon, Known: true, Asked: noon, Kind: Wemix, Producer: p, Validators: []Validator{{Self: true}}}
			c.MayStop(noon)
			c.Harm(noon)
		}
	})
}
