package governance

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/wemix/wemixvisor/upgrade"
)

func TestDecodeMemo(t *testing.T) {
	t.Parallel()
	here := runtime.GOOS + "/" + runtime.GOARCH
	for _, tc := range []struct {
		name, memo string
		sum        string // of the plan
		err        string // no plan with "-"
	}{
		{"as upgrade-info.json", memo("v1", 7), sum, ""},
		{"with a word before", "\n wemixvisor:\t" + memo("v1", 7) + " \n\x00\x00", sum, ""},
		{"sum beside", `{"name":"v1","height":"7","sha256":"` + strings.ToUpper(sum) + `"}`, sum, ""},
		{"sum beside, and where from", `{"name":"v1","height":7,"sha256":"` + sum + `","info":{"binaries":{"any":"https://a.example/b"}}}`, sum, ""},
		{"sum beside, and from where for us", `{"name":"v1","height":7,"sha256":"` + sum + `","info":{"binaries":{"` + here + `":"https://a.example/b"}}}`, sum, ""},
		{"sum as info", `{"name":"v1","height":7,"info":"sha256:` + sum + `"}`, sum, ""},
		{"sum in the URL", `{"name":"v1","height":7,"info":{"binaries":{"any":"https://a.example/b?checksum=sha256:` + sum + `"}}}`, sum, ""},
		{"info in a string", `{"name":"v1","height":7,"info":"{\"checksums\":{\"any\":\"sha256:` + sum + `\"}}"}`, sum, ""},
		{"a remark", `{"name":"v1","height":7,"info":"see the blog","sha256":"` + sum + `"}`, sum, ""},
		{"prose", "raise the fees", "", "-"},
		{"nothing", "", "", "-"},
		{"a word before prose", "wemixvisor: soon", "", "no JSON"},
		{"a list", "wemixvisor: []", "", "bad plan"},
		{"cut off", memo("v1", 7)[:30], "", "no complete JSON"},
		{"two plans", memo("v1", 7) + memo("v2", 8), "", "no complete JSON"},
		{"no name", `{"height":7,"sha256":"` + sum + `"}`, "", `name ""`},
		{"a name that climbs", memo("../x", 7), "", `name "../x"`},
		{"no height", `{"name":"v1","sha256":"` + sum + `"}`, "", "no height"},
		{"height 0", memo("v1", 0), "", "no height"},
		{"a height that is none", `{"name":"v1","height":-1}`, "", "a block number"},
		{"no sum", `{"name":"v1","height":7}`, "", "no sha256"},
		{"another sum", `{"name":"v1","height":7,"info":{"checksums":{"any":"sha512:` + sum + sum + `"}}}`, "", "no sha256"},
		{"a sum for others", `{"name":"v1","height":7,"info":{"checksums":{"plan9/arm":"sha256:` + sum + `"}}}`, "", "no sha256"},
		{"a short sum", `{"name":"v1","height":7,"sha256":"abcd"}`, "", "want 64 hex digits"},
		{"two sums", `{"name":"v1","height":7,"sha256":"` + strings.Repeat("cd", 32) + `","info":"sha256:` + sum + `"}`, "", "two checksums that differ"},
		{"a name twice", `{"name":"v1","NAME":"v2","height":7,"sha256":"` + sum + `"}`, "", `"name" stands in it twice`},
		{"too long", memo("v1", 7) + strings.Repeat(" ", 10) + strings.Repeat("x", memoLimit), "", "the limit is"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p, err := DecodeMemo([]byte(tc.memo))
			switch {
			case tc.err == "-":
				if !errors.Is(err, errNoPlan) {
					t.Fatalf("want no plan, have %+v %v", p, err)
				}
			case tc.err != "":
				if !errors.Is(err, upgrade.ErrPlan) || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("want %q, have %v", tc.err, err)
				}
			case err != nil:
				t.Fatal(err)
			default:
				want(t, p, tc.sum)
			}
		})
	}
}

// want checks a plan, also when it was written to a file and read again.
func want(t *testing.T, p upgrade.Plan, sum string) {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := upgrade.DecodePlan(text)
	if err != nil || again.Digest() != p.Digest() {
		t.Fatalf("want the same again of %s, have %+v %v", text, again, err)
	}
	if _, have := again.Info.Here(); again.Name != "v1" || again.Height != 7 || !strings.EqualFold(have, "sha256:"+sum) {
		t.Errorf("have %+v", again)
	}
}

func FuzzMemo(f *testing.F) {
	f.Add([]byte(memo("v1", 7)))
	f.Add([]byte(`wemixvisor: {"name":"v1","height":7,"info":"sha256:ab"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := DecodeMemo(data)
		if err != nil {
			return
		}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := upgrade.DecodePlan(text)
		if err != nil || again.Digest() != p.Digest() {
			t.Fatalf("want a file to hold it: %s, %v", text, err)
		}
		if _, sum := again.Info.Here(); again.Height == 0 || !strings.HasPrefix(strings.ToLower(sum), "sha256:") {
			t.Fatalf("have %s", text)
		}
	})
}

func FuzzBallot(f *testing.F) {
	f.Add(basic(6, 3, true, memo("v1", 7)))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range []string{SourceWemix, SourceContract} {
			if b, err := sourceOf(kind, DefaultEvent).decodeBallot(data); err == nil && len(b.memo) > len(data) {
				t.Fatal("a memo larger than the answer")
			}
		}
	})
}

// TestSignatures compares with what was seen on a real chain.
func TestSignatures(t *testing.T) {
	t.Parallel()
	for have, want := range map[string]string{
		call("getContractAddress(bytes32)", text("BallotStorage")): "0x0d2020dd42616c6c6f7453746f7261676500000000000000000000000000000000000000",
		call("getBallotBasic(uint256)", num(1)):                    "0x02b385fb0000000000000000000000000000000000000000000000000000000000000001",
		sourceOf(SourceWemix, "").created.String():                 "0xd1ba591c76ef71222e2d30b8277758713cc6eef1de29efaf98a716744ac2420b",
		sourceOf(SourceWemix, "").finalized.String():               "0xdc921f027328d7238b58d77649ebcbd0c8b1c494c66ba53dfe53e0de65f6dd9f",
	} {
		if want != have {
			t.Errorf("want %s, have %s", want, have)
		}
	}
}
