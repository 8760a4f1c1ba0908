package upgrade

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

const (
	sumA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	sumB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestDecodePlan(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		text string
		want string // in the error; empty: it is a plan
	}{
		{"least", `{"name":"v2"}`, ""},
		{"cosmovisor's own", `{"name":"v2","time":"0001-01-01T00:00:00Z","height":123,"info":"","upgraded_client_state":null}`, ""},
		{"height as text", `{"name":"v2","height":"123"}`, ""},
		{"unknown field beside a height", `{"name":"v2","height":1,"x":2}`, ""},
		{"a remark", `{"name":"v2","height":1,"info":"see the forum"}`, ""},
		{"halt", `{"name":"v2","height":9,"at":"halt"}`, ""},
		{"empty", ``, "no complete JSON"},
		{"half", `{"name":"v2","hei`, "no complete JSON"},
		{"something behind", `{"name":"v2"} x`, "no complete JSON"},
		{"garbage", "\x00\x01\x02", "no complete JSON"},
		{"array", `[1]`, "array"},
		{"no name", `{"height":1}`, "1 to 128"},
		{"path", `{"name":"../v2","height":1}`, "not beginning"},
		{"slash", `{"name":"a/b","height":1}`, "only letters"},
		{"name is a number", `{"name":2}`, "name"},
		{"misspelt height", `{"name":"v2","heigth":100}`, "heigth"},
		{"negative", `{"name":"v2","height":-1}`, "block number"},
		{"fraction", `{"name":"v2","height":1.5}`, "block number"},
		{"beyond", `{"name":"v2","height":9223372036854775808}`, "block number"},
		{"no time", `{"name":"v2","time":"tomorrow"}`, "2026"},
		{"at what", `{"name":"v2","at":"noon"}`, "noon"},
		{"halt where", `{"name":"v2","at":"halt"}`, "needs the height"},
		{"checksum", `{"name":"v2","height":1,"info":{"checksums":{"any":"md5:00"}}}`, "sha256"},
		{"checksum in URL", `{"name":"v2","height":1,"info":{"binaries":{"any":"https://x/y?checksum=sha256:00"}}}`, "sha256"},
		{"two checksums", `{"name":"v2","height":1,"info":{"binaries":{"any":"https://x/y?checksum=` + sumA + `"},"checksums":{"any":"` + sumB + `"}}}`, "differ"},
		{"no URL", `{"name":"v2","height":1,"info":{"binaries":{"any":"x"}}}`, "no URL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := DecodePlan([]byte(tc.text))
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("want none, have %v", err)
			case tc.want != "" && (!errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("want a bad plan and %q, have %v", tc.want, err)
			}
		})
	}
}

func TestUnknownFieldsAreNamed(t *testing.T) {
	t.Parallel()
	_, unknown, err := DecodePlan([]byte(`{"name":"v2","height":1,"zeta":1,"alpha":2}`))
	if err != nil || strings.Join(unknown, ",") != "alpha,zeta" {
		t.Errorf("have %v, %v", unknown, err)
	}
}

// The same plan is one, whoever wrote it.
func TestDigest(t *testing.T) {
	t.Parallel()
	same := []string{
		`{"name":"v2","height":7,"info":{"binaries":{"any":"https://x/y"},"checksums":{"any":"` + sumA + `"}}}`,
		`{"info":"{\"checksums\":{\"any\":\"` + sumA + `\"}, \"binaries\":{\"any\":\"https://x/y\"}}","height":"7","name":"v2","at":"height"}`,
		`{"name":"v2","height":7,"by":"api","filed":"2026-11-24T10:00:00Z","info":{"checksums":{"any":"` + sumA + `"},"binaries":{"any":"https://x/y"}}}`,
	}
	others := []string{
		`{"name":"v3","height":7}`, `{"name":"v2","height":8}`, `{"name":"v2","height":7,"at":"halt"}`,
		`{"name":"v2","height":7,"time":"2027-01-01T00:00:00Z"}`, `{"name":"v2","height":7}`, `{"name":"v2","height":7,"info":"x"}`,
	}
	digest := func(text string) string {
		p, _, err := DecodePlan([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		written, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := DecodePlan(written)
		if err != nil || again.Digest() != p.Digest() {
			t.Errorf("%s: written as %s it is another (%v)", text, written, err)
		}
		return p.Digest()
	}
	seen := map[string]string{}
	for _, text := range others {
		if d := digest(text); seen[d] != "" {
			t.Errorf("%s and %s are the same", text, seen[d])
		} else {
			seen[d] = text
		}
	}
	for _, text := range same {
		if have, want := digest(text), digest(same[0]); have != want {
			t.Errorf("%s is another", text)
		}
	}
}

func TestInfoHere(t *testing.T) {
	t.Parallel()
	here := runtime.GOOS + "/" + runtime.GOARCH
	for _, tc := range []struct {
		name, info, url, sum string
	}{
		{"ours before any", `{"binaries":{"` + here + `":"https://x/ours","any":"https://x/any"},"checksums":{"` + here + `":"` + sumA + `","any":"` + sumB + `"}}`, "https://x/ours", sumA},
		{"any", `{"binaries":{"plan9/mips":"https://x/p","any":"https://x/any"}}`, "https://x/any", ""},
		{"checksum in the URL", `{"binaries":{"any":"https://x/any?a=b&checksum=` + sumA + `"}}`, "https://x/any?a=b&checksum=" + sumA, sumA},
		{"a checksum alone", `{"checksums":{"any":"` + sumA + `"}}`, "", sumA},
		{"others only", `{"binaries":{"plan9/mips":"https://x/p"}}`, "", ""},
		{"a remark", `"hello"`, "", ""},
	} {
		var i Info
		if err := json.Unmarshal([]byte(tc.info), &i); err != nil {
			t.Fatal(err)
		}
		if url, sum := i.Here(); url != tc.url || sum != tc.sum {
			t.Errorf("%s: want %q %q, have %q %q", tc.name, tc.url, tc.sum, url, sum)
		}
	}
}

func TestDecodeBatch(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, text, want string }{
		{"ours", `{"version":"1.0","name":"b","created_at":"2026-11-24T10:00:00Z","upgrades":[{"name":"v2","height":1},{"name":"v3","height":2,"info":{"checksums":{"any":"` + sumA + `"}}}]}`, ""},
		{"cosmovisor's", `[{"name":"v2","height":1,"time":"0001-01-01T00:00:00Z"},{"name":"v3","height":2}]`, ""},
		{"falling", `{"version":"1.0","name":"b","upgrades":[{"name":"v2","height":2},{"name":"v3","height":2}]}`, "must rise"},
		{"now", `{"version":"1.0","name":"b","upgrades":[{"name":"v2","height":0}]}`, "must rise"},
		{"twice", `{"version":"1.0","name":"b","upgrades":[{"name":"v2","height":1},{"name":"v2","height":2}]}`, "twice"},
		{"none", `{"version":"1.0","name":"b","upgrades":[]}`, "no upgrades"},
		{"version", `{"version":"2.0","name":"b","upgrades":[{"name":"v2","height":1}]}`, "2.0"},
		{"no name", `{"version":"1.0","upgrades":[{"name":"v2","height":1}]}`, "name"},
		{"bad inside", `{"version":"1.0","name":"b","upgrades":[{"name":"v2","height":1},{"name":"/","height":2}]}`, "upgrade 2"},
	} {
		b, _, err := DecodeBatch([]byte(tc.text))
		switch {
		case tc.want == "" && (err != nil || len(b.Upgrades) != 2 || b.Upgrades[1].Name != "v3"):
			t.Errorf("%s: have %+v, %v", tc.name, b, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: want %q, have %v", tc.name, tc.want, err)
		}
	}
}

func TestDecodeCSV(t *testing.T) {
	t.Parallel()
	b, binaries, err := DecodeCSV([]byte("# name,path,height\nv2, /tmp/v2 ,100\nv3,/tmp/v3,200\n"))
	if err != nil || len(b.Upgrades) != 2 || b.Upgrades[1].Height != 200 || binaries["v2"] != "/tmp/v2" {
		t.Errorf("have %+v, %v, %v", b, binaries, err)
	}
	for _, text := range []string{"", "v2,/x", "v2,/x,soon", "v2,/x,2\nv3,/y,1", `a/b,/x,1`} {
		if _, _, err := DecodeCSV([]byte(text)); !errors.Is(err, ErrPlan) {
			t.Errorf("%q: have %v", text, err)
		}
	}
}

func FuzzDecodePlan(f *testing.F) {
	f.Add([]byte(`{"name":"v2","height":7,"info":{"binaries":{"any":"https://x/y?checksum=` + sumA + `"}}}`))
	f.Add([]byte(`{"name":"v2","time":"2027-01-01T00:00:00+09:00","info":"{\"a\":1e999}"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, _, err := DecodePlan(data)
		if err != nil {
			return
		}
		written, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		again, _, err := DecodePlan(written)
		if err != nil || again.Digest() != p.Digest() || !again.Time.Equal(p.Time) {
			t.Fatalf("%s became %s: %v", data, written, err)
		}
		_, _ = p.Info.Here()
	})
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add([]byte(`{"version":"1.0","name":"b","upgrades":[{"name":"v2","height":1},{"name":"v3","height":2}]}`))
	f.Add([]byte("v2,/x,1\nv3,/y,2"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, _, err := DecodeBatch(data)
		c, _, cerr := DecodeCSV(data)
		for _, b := range []Batch{b, c} {
			last := uint64(0)
			for _, p := range b.Upgrades {
				if (err == nil || cerr == nil) && p.Height <= last && b.Check() == nil {
					t.Fatal("heights do not rise")
				}
				last = p.Height
			}
		}
	})
}

func TestPlanTimeIsCompared(t *testing.T) {
	t.Parallel()
	a := Plan{Name: "v2", Time: time.Date(2026, 1, 1, 9, 0, 0, 0, time.FixedZone("", 9*3600))}
	b := Plan{Name: "v2", Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	if a.Digest() != b.Digest() {
		t.Error("one moment in two zones is one plan")
	}
}
