package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/wemix/wemixvisor/upgrade"
)

// object is one of JSON.
type object = map[string]any

// document is the OpenAPI description of the table.
func (s *Server) document(*http.Request) (object, error) {
	return document(s.routes(), s.cfg.Version.Version), nil
}

func document(routes []Route, version string) object {
	schemas := schemas{}
	paths := object{}
	for _, route := range routes {
		path := base + route.Path
		item, ok := paths[path].(object)
		if !ok {
			item = object{}
			paths[path] = item
		}
		item[strings.ToLower(route.Method)] = operation(route, schemas)
	}
	schemas.of(reflect.TypeFor[Refusal]())
	for _, data := range []reflect.Type{reflect.TypeFor[Event](), reflect.TypeFor[Transition](), reflect.TypeFor[Block](), reflect.TypeFor[Output](), reflect.TypeFor[upgrade.Event]()} {
		schemas.of(data)
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title":       "wemixvisor",
			"version":     version,
			"description": "Drives a running supervisor. Over the control socket nobody needs a token; over TCP every route does.",
		},
		"security": []object{{"token": []string{}}},
		"paths":    paths,
		"components": object{
			"schemas":         schemas,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
		},
	}
}

var segment = regexp.MustCompile(`{(\w+)}`)

func operation(route Route, schemas schemas) object {
	var params []object
	for _, name := range segment.FindAllStringSubmatch(route.Path, -1) {
		params = append(params, object{"name": name[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range route.Query {
		params = append(params, object{"name": p.Name, "in": "query", "description": p.About, "schema": object{"type": p.Type}})
	}
	success := object{"description": route.Summary}
	switch {
	case route.answer != nil:
		success["content"] = object{"application/json": object{"schema": schemas.of(route.answer)}}
	case route.media != "":
		success["content"] = object{route.media: object{"schema": object{}}}
	default:
		success["description"] = "a stream of JSON texts, each an Event: data is a Transition (state), Block (head), Output (log), UpgradeEvent (upgrade) or Alert (alert)"
	}
	responses := object{
		strconv.Itoa(route.status): success,
		"default": object{
			"description": "what was not done, and why",
			"content":     object{"application/json": object{"schema": schemas.of(reflect.TypeFor[Refusal]())}},
		},
	}
	if route.Mutates() {
		responses["409"] = object{
			"description": "something else is being done to the node",
			"content":     object{"application/json": object{"schema": schemas.of(reflect.TypeFor[Refusal]())}},
		}
	}
	op := object{
		"operationId": operationID(route),
		"summary":     route.Summary,
		"responses":   responses,
	}
	if params != nil {
		op["parameters"] = params
	}
	if route.body != nil && route.body.NumField() > 0 {
		op["requestBody"] = object{"content": object{"application/json": object{"schema": schemas.of(route.body)}}}
	}
	return op
}

// operationID makes one word of a route: getUpgradesName.
func operationID(route Route) string {
	id := strings.ToLower(route.Method)
	for _, word := range strings.FieldsFunc(route.Path, func(r rune) bool { return strings.ContainsRune("/{}._-", r) }) {
		id += strings.ToUpper(word[:1]) + word[1:]
	}
	return id
}

// schemas are the types of the document by name.
type schemas map[string]any

// of describes t as encoding/json writes it, a struct by reference.
func (s schemas) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return object{}
	}
	if t.Implements(reflect.TypeFor[json.Marshaler]()) {
		return object{} // it says by itself what it is
	}
	switch t.Kind() {
	case reflect.Pointer:
		return object{"anyOf": []object{s.of(t.Elem()), {"type": "null"}}}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Slice, reflect.Array:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		name := t.Name()
		if name == "" {
			return s.fields(t)
		}
		if t.PkgPath() == reflect.TypeFor[upgrade.Event]().PkgPath() { // others have an Event, a Check and a Batch too
			name = "Upgrade" + name
		}
		if _, known := s[name]; !known {
			s[name] = nil // a type may hold itself
			s[name] = s.fields(t)
		}
		return object{"$ref": "#/components/schemas/" + name}
	}
	return object{} // anything
}

func (s schemas) fields(t reflect.Type) object {
	properties, required := object{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		if !f.IsExported() || f.Anonymous || len(f.Index) > 1 && hidden(t, f.Index) {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		properties[name] = s.of(f.Type)
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			required = append(required, name)
		}
	}
	out := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

// hidden reports whether the field at index lies in an embedded struct with a
// name of its own in JSON.
func hidden(t reflect.Type, index []int) bool {
	for i := 1; i < len(index); i++ {
		if t.FieldByIndex(index[:i]).Tag.Get("json") != "" {
			return true
		}
	}
	return false
}
