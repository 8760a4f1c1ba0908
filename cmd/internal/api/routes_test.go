package api

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestReadmeDocumentAndMuxAgree(t *testing.T) {
	t.Parallel()
	s := NewServer(Config{})
	b, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(document(s.routes(), "v"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string         `json:"operationId"`
			Summary     string         `json:"summary"`
			Responses   map[string]any `json:"responses"`
		} `json:"paths"`
		Components struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var rows []string
	ids := map[string]bool{}
	for _, r := range s.routes() {
		row := fmt.Sprintf("| `%s` | `%s%s` | %s |", r.Method, base, r.Path, r.Summary)
		rows = append(rows, row)
		if !strings.Contains(string(b), row) {
			t.Errorf("README lacks the row:\n%s", row)
		}
		op, ok := doc.Paths[base+r.Path][strings.ToLower(r.Method)]
		if !ok || op.Summary != r.Summary || len(op.Responses) < 2 {
			t.Errorf("%s %s: want it described, have %+v", r.Method, r.Path, op)
		}
		if ids[op.OperationID] {
			t.Errorf("%s stands for two routes", op.OperationID)
		}
		ids[op.OperationID] = true
		if _, conflict := op.Responses["409"]; conflict != r.Mutates() {
			t.Errorf("%s %s: want a 409 only where something changes", r.Method, r.Path)
		}
		path := segment.ReplaceAllString(base+r.Path, "x")
		if _, pattern := s.mux.Handler(httptest.NewRequest(r.Method, path, nil)); pattern != r.Method+" "+base+r.Path {
			t.Errorf("%s %s: have the mux take it for %q", r.Method, path, pattern)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `[A-Z]+` \\| `/api/v1/.*$").FindAllString(string(b), -1) {
		if !slices.Contains(rows, row) {
			t.Errorf("README has a row without a route:\n%s", row)
		}
	}
	for _, ref := range regexp.MustCompile(`#/components/schemas/(\w+)`).FindAllStringSubmatch(string(text), -1) {
		if doc.Components.Schemas[ref[1]] == nil {
			t.Errorf("schema %s is referred to and not there", ref[1])
		}
	}
}

func TestDocumentTellsTypesAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	schemas := document(NewServer(Config{}).routes(), "v")["components"].(object)["schemas"].(schemas)
	text, _ := json.Marshal(schemas["Status"])
	for _, want := range []string{
		`"pid":{"type":"integer"}`, `"args":{"items":{"type":"string"},"type":"array"}`,
		`"change":{"anyOf":[{"$ref":"#/components/schemas/Change"},{"type":"null"}]}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("want %s, have %s", want, text)
		}
	}
}
