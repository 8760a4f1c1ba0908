package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wemix/wemixvisor/probe/alert"
	"github.com/wemix/wemixvisor/upgrade/governance"
)

const (
	voter     = "0x0000000000000000000000000000000000001000"
	votedTill = 1000 // the block the proposal passed in
)

// votes answers for a node of whose contract one proposal has passed. Without
// methods it answers -32601 to what is asked of a contract.
func votes(t *testing.T, methods bool) (url string) {
	t.Helper()
	memo := `{"name":"v2","height":5000,"sha256":"` + strings.Repeat("ab", 32) + `"}`
	word := func(n int) string { return fmt.Sprintf("%064x", n) }
	padded := fmt.Sprintf("%x", memo) + strings.Repeat("00", (32-len(memo)%32)%32)
	block := func(n uint64) any {
		return map[string]any{"number": fmt.Sprintf("%#x", n), "hash": fmt.Sprintf("0x%064x", n), "timestamp": fmt.Sprintf("%#x", time.Now().Unix())}
	}
	const head = votedTill + 20
	type question struct {
		ID     json.RawMessage   `json:"id"`
		Method string            `json:"method"`
		Params []json.RawMessage `json:"params"`
	}
	one := func(q question) map[string]any {
		var result any
		switch q.Method {
		case "web3_clientVersion":
			result = "Geth/v1.16.9-stable/linux-amd64/go1.26"
		case "eth_chainId":
			result = "0x1"
		case "rpc_modules":
			result = map[string]string{"eth": "1.0"}
		case "eth_blockNumber":
			result = fmt.Sprintf("%#x", head)
		case "eth_getBlockByNumber", "eth_getHeaderByNumber":
			n := uint64(head)
			_, _ = fmt.Sscanf(strings.Trim(string(q.Params[0]), `"`), "0x%x", &n)
			result = block(n)
		case "eth_getCode", "eth_call", "eth_getLogs":
			if !methods {
				return map[string]any{"jsonrpc": "2.0", "id": q.ID, "error": map[string]any{"code": -32601, "message": "the method is not available"}}
			}
			switch q.Method {
			case "eth_getCode":
				result = "0xfe"
			case "eth_call":
				result = "0x" + word(3) + word(1) + word(0x60) + word(len(memo)) + padded
			default:
				var filter struct {
					FromBlock, ToBlock string
					Topics             [][]string
				}
				_ = json.Unmarshal(q.Params[0], &filter)
				var from, to uint64
				_, _ = fmt.Sscanf(filter.FromBlock+" "+filter.ToBlock, "0x%x 0x%x", &from, &to)
				logs := []any{}
				if from <= votedTill && votedTill <= to {
					logs = append(logs, map[string]any{
						"address": voter, "topics": []string{filter.Topics[0][0], "0x" + word(7)}, "data": "0x" + word(3),
						"blockNumber": fmt.Sprintf("%#x", votedTill), "blockHash": fmt.Sprintf("0x%064x", votedTill),
					})
				}
				result = logs
			}
		}
		return map[string]any{"jsonrpc": "2.0", "id": q.ID, "result": result}
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var raw json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&raw)
		w.Header().Set("Content-Type", "application/json")
		var many []question
		if json.Unmarshal(raw, &many) == nil {
			answers := []any{}
			for _, q := range many {
				answers = append(answers, one(q))
			}
			_ = json.NewEncoder(w).Encode(answers)
			return
		}
		var q question
		_ = json.Unmarshal(raw, &q)
		_ = json.NewEncoder(w).Encode(one(q))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// ask gets a path of the API over the control socket.
func (h *house) ask(path string) (int, string) {
	h.t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(h.home, "wemixvisor", "wemixvisor.sock"))
	}}}
	res, err := c.Get("http://localhost/api/v1/" + path)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func TestVoteIsFiledAndTold(t *testing.T) {
	t.Parallel()
	hook, url := newWebhook(t)
	h := newHouse(t, "exec sleep 1000", "DAEMON_GOVERNANCE_SOURCE=contract", "DAEMON_GOVERNANCE_ADDRESS="+voter,
		"DAEMON_RPC_ADDRESS="+votes(t, true), "DAEMON_ALERT_URLS="+url)
	terminate, wait := h.run()
	file := filepath.Join(h.home, "wemixvisor", "queue", "v2.json")
	h.until("the plan filed", func() bool { _, err := os.Stat(file); return err == nil })
	var st governance.Status
	h.until("the status to say so", func() bool {
		_, out := h.command("governance", "status", "--json")
		return json.Unmarshal([]byte(out), &st) == nil && st.State == governance.Following && len(st.Proposals) == 1 && st.Proposals[0].Stage == governance.Scheduled
	})
	if p := st.Proposals[0]; p.ID != "7" || p.Plan == nil || p.Plan.Name != "v2" || p.Plan.Height != 5000 || p.Confirmations != 20 || st.Contract != voter {
		t.Errorf("have %+v", st)
	}
	if code, out := h.command("governance", "status"); code != 0 || !strings.Contains(out, "proposal 7  scheduled v2 at height 5000") {
		t.Errorf("have %d %s", code, out)
	}
	for _, tc := range []struct {
		path string
		code int
		text string
	}{
		{"governance", 200, `"state":"following"`},
		{"governance/proposals", 200, `[{"id":"7"`},
		{"governance/proposals/7", 200, `"stage":"scheduled"`},
		{"governance/proposals/8", 404, `"code":"not_found"`},
	} {
		if code, out := h.ask(tc.path); code != tc.code || !strings.Contains(out, tc.text) {
			t.Errorf("%s: want %d with %s, have %d %s", tc.path, tc.code, tc.text, code, out)
		}
	}
	h.until("people told", func() bool { return hook.count("firing governance_scheduled") == 1 })
	terminate()
	wait()
}

func TestVotesThatNobodyFollows(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, state string
		env         []string
		code        int // of the API
	}{
		{"off", governance.Off, nil, 501},
		{"not offered", governance.NotOffered, []string{"DAEMON_GOVERNANCE_SOURCE=contract", "DAEMON_GOVERNANCE_ADDRESS=" + voter, "DAEMON_RPC_ADDRESS=" + votes(t, false)}, 501},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, "exec sleep 1000", tc.env...)
			terminate, wait := h.run()
			h.until("its state", func() bool {
				code, out := h.command("governance", "status")
				return code == 0 && strings.HasPrefix(out, "state ") && strings.Contains(strings.SplitN(out, "\n", 2)[0], " "+tc.state+" ")
			})
			for _, path := range []string{"governance/proposals", "governance/proposals/1"} {
				if code, out := h.ask(path); code != tc.code || !strings.Contains(out, `"code":"no_governance"`) {
					t.Errorf("%s: want %d, have %d %s", path, tc.code, code, out)
				}
			}
			terminate()
			wait()
		})
	}
	h := newHouse(t, "exit 0")
	if code, out := h.command("governance", "status"); code != exitNotRunning {
		t.Errorf("want %d without a supervisor, have %d %s", exitNotRunning, code, out)
	}
	if code, out := h.command("governance"); code != exitUsage || !strings.Contains(out, "governance status") {
		t.Errorf("have %d %s", code, out)
	}
}

func TestGovernanceSettingsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for text, why := range map[string]string{
		"--governance-source=dao":                                      "none of off, wemix, contract",
		"--governance-source=contract":                                 "needs a governance-address",
		"--governance-address=0x1":                                     "no address",
		"--governance-event=Transfer(uint256)":                         "no name of an event",
		"--governance-confirmations=-1":                                "no whole number",
		"--governance-confirmations=" + fmt.Sprint(maxConfirmations+1): "no whole number",
	} {
		if _, _, err := parse([]string{text}); exitCode(err) != exitUsage || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: want %q, have %v", text, why, err)
		}
	}
}

func TestVotesAreAlarms(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, tc := range []struct {
		event governance.Event
		want  string
	}{
		{governance.Event{Stage: governance.Open}, ""},
		{governance.Event{Stage: governance.Scheduled, Name: "v2"}, "governance_scheduled"},
		{governance.Event{Stage: governance.Ignored}, "governance_ignored"},
		{governance.Event{Stage: governance.Withdrawn, Name: "v2"}, "governance_withdrawn"},
		{governance.Event{Stage: governance.Withdrawn}, ""}, // nothing was filed
	} {
		var a alarms
		tc.event.At = now
		a.voted(tc.event)
		have := ""
		for _, r := range a.rules(&settings{alertSettings: alertSettings{alertRemember: time.Minute}}, nil) {
			if strings.HasPrefix(r.Name, "governance_") && r.Check(alert.Scene{Now: now}) != "" {
				have += r.Name
			}
		}
		if have != tc.want {
			t.Errorf("%s: want %q, have %q", tc.event.Stage, tc.want, have)
		}
	}
}
