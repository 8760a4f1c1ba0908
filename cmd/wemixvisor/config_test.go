package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wemix/wemixvisor/cmd/internal/api"
)

func (h *house) file() string { return filepath.Join(h.home, "wemixvisor", "config.toml") }

func TestConfigSetKeepsEverythingElse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, before, key, value, after string }{
		{"a value with a comment", "# head\nmax-restarts = 3 # three\nnetwork = \"a\"\n", "max-restarts", "7", "# head\nmax-restarts = \"7\" # three\nnetwork = \"a\"\n"},
		{"a string that holds a sign", "network = \"a#b\" # x\n", "network", "c", "network = \"c\" # x\n"},
		{"an escaped quote", `network = "a\"b" # x` + "\n", "network", `q"\`, `network = "q\"\\" # x` + "\n"},
		{"a literal string", "network = 'a'\n", "network", "b", "network = \"b\"\n"},
		{"a quoted key", "\"network\"='a'\n", "network", "b", "\"network\"=\"b\"\n"},
		{"no end of line", "network = \"a\"", "network", "b", "network = \"b\""},
		{"lines of DOS", "network = 1\r\nmax-restarts = 2\r\n", "network", "b", "network = \"b\"\r\nmax-restarts = 2\r\n"},
		{"behind its comment", "# network = \"\"\n\n# end\n", "network", "b", "# network = \"\"\nnetwork = \"b\"\n\n# end\n"},
		{"at the end", "max-restarts = 2\n", "network", "b", "max-restarts = 2\nnetwork = \"b\"\n"},
		{"at the end without a line's end", "max-restarts = 2", "network", "b", "max-restarts = 2\nnetwork = \"b\"\n"},
		{"an empty file", "", "network", "b", "network = \"b\"\n"},
		{"a key that is longer", "network-x = 1\n", "network", "b", "network-x = 1\nnetwork = \"b\"\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			after, err := (&document{"f", []byte(tc.before)}).set(tc.key, tc.value)
			if err != nil {
				t.Fatal(err)
			}
			if have := string(after.text); tc.after != have {
				t.Fatalf("want\n%q, have\n%q", tc.after, have)
			}
		})
	}
	for name, text := range map[string]string{
		"a long string": "name = \"\"\"\nnetwork = 1\n\"\"\"\n", "a list": "network = [\n1]\n", "no TOML": "network = = 1\n",
	} {
		if after, err := (&document{"f", []byte(text)}).set("network", "b"); err == nil {
			t.Errorf("%s: want it refused, have %q", name, after.text)
		}
	}
}

// FuzzConfigSet makes sure that whatever the file, either the key and nothing
// else is another, or the file is refused.
func FuzzConfigSet(f *testing.F) {
	f.Add("a = 1 # x\n\"network\" = '''\nnetwork = 1\n'''\n", "v")
	f.Add("# network = 1\r\n[t]\nnetwork = 2\n", "\"\\\x00é\n")
	f.Fuzz(func(t *testing.T, text, value string) {
		before := &document{"f", []byte(text)}
		pairs, err := before.pairs()
		after, serr := before.set("network", value)
		if serr != nil {
			return
		}
		if err != nil {
			t.Fatalf("want it refused: %v", err)
		}
		now, err := after.pairs()
		if err != nil {
			t.Fatalf("want TOML, have %q: %v", after.text, err)
		}
		want := map[string]string{}
		for _, p := range pairs {
			want[p.key] = p.value
		}
		want["network"] = value
		if len(now) != len(want) {
			t.Fatalf("want %v, have %v", want, now)
		}
		for _, p := range now {
			if want[p.key] != p.value {
				t.Fatalf("%s: want %q, have %q", p.key, want[p.key], p.value)
			}
		}
	})
}

func TestConfigSetThroughTheProgram(t *testing.T) {
	t.Parallel()
	h := newHouse(t, steady)
	if code, out := h.command("config", "set", "network", "testnet"); code != 0 || !strings.Contains(out, "config reload") {
		t.Fatalf("want it set and how it is taken, have %d %s", code, out)
	}
	b, err := os.ReadFile(h.file())
	if err != nil || !strings.Contains(string(b), "\n# network = \"\"\nnetwork = \"testnet\"\n") || !strings.Contains(string(b), "# shutdown-grace = ") {
		t.Fatalf("want the template with one line more, have %s %v", b, err)
	}
	if err := os.Chmod(h.file(), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		want []string
	}{
		{[]string{"config", "set", "no-such", "1"}, []string{"no-such"}},
		{[]string{"config", "set", "config", "1"}, []string{"config"}},
		{[]string{"config", "set", "network"}, []string{"key and its value"}},
		{[]string{"config", "set", "max-restarts", "many"}, []string{"many", "nothing changed"}},
		{[]string{"config", "set", "api-address", ":1"}, []string{"api-token-file", "nothing changed"}},
		{[]string{"config", "set", "name", "x"}, []string{"DAEMON_NAME", "environment"}},
		{[]string{"--log-level=debug", "config", "set", "log-level", "warn"}, []string{"--log-level"}},
	} {
		code, out := h.command(tc.args...)
		if code != exitUsage {
			t.Errorf("%v: want 2, have %d %s", tc.args, code, out)
		}
		for _, word := range tc.want {
			if !strings.Contains(out, word) {
				t.Errorf("%v: want %q named, have %s", tc.args, word, out)
			}
		}
	}
	if after, _ := os.ReadFile(h.file()); string(after) != string(b) {
		t.Errorf("want the file untouched, have %s", after)
	}
	if info, err := os.Stat(h.file()); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("want the mode kept, have %v %v", info.Mode(), err)
	}

	// A file with a mistake can be mended a line at a time.
	h.configure(`log-level = "loud"`, `max-restarts = "many"`)
	if code, out := h.command("config", "set", "log-level", "warn"); code != 0 {
		t.Errorf("want one mistake mended, have %d %s", code, out)
	}
	if code, out := h.command("config", "validate"); code != exitUsage || !strings.Contains(out, "many") || strings.Contains(out, "loud") {
		t.Errorf("want the other one named, have %d %s", code, out)
	}
}

func TestConfigSetAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, steady)
	keys := []string{"max-restarts", "ready-min-peers", "ready-max-lag", "alert-max-lag"}
	var all sync.WaitGroup
	for _, key := range keys {
		all.Go(func() {
			if code, out := h.command("config", "set", key, "7"); code != 0 {
				t.Errorf("%s: %d %s", key, code, out)
			}
		})
	}
	all.Wait()
	b, _ := os.ReadFile(h.file())
	for _, key := range keys {
		if !strings.Contains(string(b), "\n"+key+" = \"7\"\n") {
			t.Errorf("%s is lost", key)
		}
	}
}

func TestConfigSetSeesWhatTheSupervisorWasGiven(t *testing.T) {
	t.Parallel()
	h := newHouse(t, steady)
	with := *h
	with.env = append(with.env, "DAEMON_NETWORK=mainnet")
	with.run()
	h.running(0)
	if code, out := h.command("config", "set", "network", "testnet"); code != exitUsage || !strings.Contains(out, "DAEMON_NETWORK") {
		t.Errorf("want the supervisor's variable named, have %d %s", code, out)
	}
}

func TestConfigSetWritesBehindALink(t *testing.T) {
	t.Parallel()
	h := newHouse(t, steady)
	real := filepath.Join(h.home, "real.toml")
	if err := os.WriteFile(real, []byte("max-restarts = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(h.file()), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, h.file()); err != nil {
		t.Fatal(err)
	}
	if code, out := h.command("config", "set", "max-restarts", "2"); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	if b, err := os.ReadFile(real); err != nil || string(b) != "max-restarts = \"2\"\n" {
		t.Fatalf("want the file behind the link changed, have %q %v", b, err)
	}
	if info, err := os.Lstat(h.file()); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Fatalf("want the link kept, have %v %v", info.Mode(), err)
	}
}

func TestConfigShowTellsOriginsAndNoSecrets(t *testing.T) {
	t.Parallel()
	const key = "s3cr3tkey"
	h := newHouse(t, steady, "DAEMON_ALERT_URLS=generic://"+key+"@x.example/y", "DAEMON_RPC_ADDRESS=https://"+key+"@127.0.0.1:1/?key="+key)
	h.configure("# a comment", `max-restarts = 3`)
	code, out := h.command("--network", "testnet", "config", "show", "--origin", "--json")
	var all []api.Setting
	if err := json.Unmarshal([]byte(out), &all); code != 0 || err != nil {
		t.Fatalf("%d %v %s", code, err, out)
	}
	want := map[string]api.Setting{
		"network":        {Value: "testnet", Origin: "flag"},
		"max-restarts":   {Value: "3", Origin: h.file() + ":2"},
		"name":           {Value: "node", Origin: "DAEMON_NAME"},
		"shutdown-grace": {Value: "30s", Origin: "default"},
		"data-dir":       {Value: h.home + "/data", Origin: "default"},
		"alert-urls":     {Value: "***", Origin: "DAEMON_ALERT_URLS"},
		"rpc-address":    {Value: "https://xxxxx@127.0.0.1:1/?xxxxx", Origin: "DAEMON_RPC_ADDRESS"},
	}
	for _, have := range all {
		if w, ok := want[have.Key]; ok && (w.Value != have.Value || w.Origin != have.Origin) {
			t.Errorf("%s: want %+v, have %+v", have.Key, w, have)
		}
		delete(want, have.Key)
	}
	if len(want) > 0 || strings.Contains(out, key) {
		t.Errorf("want these too: %v; and no secret: %s", want, out)
	}
	if code, out := h.command("config", "show", "--origin"); code != 0 || strings.Contains(out, key) || !strings.Contains(out, "config.toml:2") {
		t.Errorf("want lines with origins and no secret, have %d %s", code, out)
	}
	h.run()
	h.running(0)
	for _, command := range []string{"doctor", "status"} {
		if _, out := h.command(command); strings.Contains(out, key) {
			t.Errorf("want no secret from %s, have %s", command, out)
		}
	}
	var running []api.Setting
	if err := h.client().Get(t.Context(), "config", &running); err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(running)
	if strings.Contains(string(text), key) || h.logged(key) {
		t.Errorf("want no secret from the API or in the log, have %s", text)
	}
}

func TestTemplatesAreValidAndSayWhatTheyMean(t *testing.T) {
	t.Parallel()
	for name, choices := range templates {
		h := newHouse(t, steady)
		code, text := h.command("config", "template", name)
		if code != 0 {
			t.Fatalf("%s: %d %s", name, code, text)
		}
		file := filepath.Join(h.home, "t.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out := h.command("config", "validate", file); code != 0 {
			t.Errorf("%s: want it valid, have %d %s", name, code, out)
		}
		pairs, err := (&document{file, []byte(text)}).pairs()
		if err != nil || len(pairs) != len(choices) {
			t.Errorf("%s: want %d settings, have %v %v", name, len(choices), pairs, err)
		}
		for _, p := range pairs {
			if p.key == "shutdown-grace" && p.value != "5m" && p.value != "10m" {
				t.Errorf("%s: want minutes of grace, have %s", name, p.value)
			}
		}
	}
	h := newHouse(t, steady)
	if code, out := h.command("config", "template", "moon"); code != exitUsage || !strings.Contains(out, "validator") {
		t.Errorf("want the names told, have %d %s", code, out)
	}
}

func TestConfigValidateTellsAllMistakesAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, steady, "DAEMON_LOG_LEVEL=info")
	file := filepath.Join(h.home, "x.toml")
	if err := os.WriteFile(file, []byte("log-level = \"loud\"\nnonsense = 1\nmax-restarts = -1\napi-tls-cert = \"c\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := h.command("config", "validate", file)
	if code != exitUsage || strings.Count(out, "\n") != 1 {
		t.Fatalf("want 2 and one line, have %d %s", code, out)
	}
	// A variable shadows the first; it is a mistake all the same.
	for _, word := range []string{"loud", "x.toml:1", "nonsense", "x.toml:2", "-1", "x.toml:3", "api-tls-key"} {
		if !strings.Contains(out, word) {
			t.Errorf("want %q named, have %s", word, out)
		}
	}
	if code, _ := h.command("config", "validate", "/no/such"); code != exitUsage {
		t.Errorf("no file: want 2, have %d", code)
	}
	if code, out := h.command("config", "validate"); code != 0 {
		t.Errorf("no file at the usual place: want it valid, have %d %s", code, out)
	}
	if code, _ := h.command("config", "validate", "/dev/zero"); code != exitUsage {
		t.Errorf("an endless file: want 2, have %d", code)
	}
}
