package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// schemaFile is what programs may rely on.
const schemaFile = "../../docs/schema/assessment-1.json"

// checker holds a document against a schema, for the keywords that ours uses; any other one
// is an error. Members that the schema does not name are errors too: others may add them,
// we write them down.
type checker struct {
	root   map[string]any
	errors []string
}

func (c *checker) fail(path, format string, args ...any) {
	if len(c.errors) < 20 {
		c.errors = append(c.errors, path+": "+fmt.Sprintf(format, args...))
	}
}

// check holds v against s and gives the members that s names.
func (c *checker) check(path string, s map[string]any, v any) (named map[string]bool) {
	named = map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(s)) {
		arg := s[key]
		switch key {
		case "$schema", "$id", "$defs", "title", "description":
		case "$ref":
			name := strings.TrimPrefix(arg.(string), "#/$defs/")
			maps.Copy(named, c.check(path, c.root["$defs"].(map[string]any)[name].(map[string]any), v))
		case "allOf":
			for _, part := range arg.([]any) {
				maps.Copy(named, c.check(path, part.(map[string]any), v))
			}
		case "type":
			types, ok := arg.([]any)
			if !ok {
				types = []any{arg}
			}
			if !slices.ContainsFunc(types, func(t any) bool { return isType(v, t.(string)) }) {
				c.fail(path, "%v is not %v", v, types)
			}
		case "const":
			if v != arg {
				c.fail(path, "%v is not %v", v, arg)
			}
		case "enum":
			if !slices.Contains(arg.([]any), v) {
				c.fail(path, "%v is none of %v", v, arg)
			}
		case "pattern":
			if text, ok := v.(string); ok && !regexp.MustCompile(arg.(string)).MatchString(text) {
				c.fail(path, "%q does not match %s", text, arg)
			}
		case "minimum":
			if n, ok := v.(float64); ok && n < arg.(float64) {
				c.fail(path, "%v is less than %v", n, arg)
			}
		case "maximum":
			if n, ok := v.(float64); ok && n > arg.(float64) {
				c.fail(path, "%v is more than %v", n, arg)
			}
		case "items":
			list, _ := v.([]any)
			for i, item := range list {
				c.whole(fmt.Sprintf("%s[%d]", path, i), arg.(map[string]any), item)
			}
		case "properties":
			object, _ := v.(map[string]any)
			for name, p := range arg.(map[string]any) {
				named[name] = true
				if member, ok := object[name]; ok {
					c.whole(path+"."+name, p.(map[string]any), member)
				}
			}
		case "required":
			object, isObject := v.(map[string]any)
			for _, name := range arg.([]any) {
				if _, ok := object[name.(string)]; !ok && isObject {
					c.fail(path, "has no member %q", name)
				}
			}
		default:
			c.fail(path, "the schema uses %q, which this test does not know", key)
		}
	}
	return named
}

// whole is check for a value, all of whose members have to be named.
func (c *checker) whole(path string, s map[string]any, v any) {
	named := c.check(path, s, v)
	if object, ok := v.(map[string]any); ok {
		for name := range object {
			if !named[name] {
				c.fail(path, "member %q is not in the schema", name)
			}
		}
	}
}

func isType(v any, name string) bool {
	switch v := v.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case float64:
		return name == "number" || name == "integer" && v == float64(int64(v))
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	}
	return false
}

func readSchema(t *testing.T, file string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSchema holds real documents against the schema.
func TestSchema(t *testing.T) {
	root := readSchema(t, schemaFile)
	for name, a := range cases(t) {
		t.Run(name, func(t *testing.T) {
			b, err := appendDocument(nil, a, All, "")
			if err != nil {
				t.Fatal(err)
			}
			var v any
			if err := json.Unmarshal(b, &v); err != nil {
				t.Fatal(err)
			}
			c := checker{root: root}
			c.whole("$", root, v)
			for _, e := range c.errors {
				t.Error(e)
			}
		})
	}
}

// TestSchemaChecker holds that the check finds what is wrong.
func TestSchemaChecker(t *testing.T) {
	root := readSchema(t, schemaFile)
	b, err := appendDocument(nil, assessed(t, "../../examples/fs01", "2026-02-01"), Top, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, old, by string }{
		{"other_version", `"oldguard/assessment/1"`, `"oldguard/assessment/2"`},
		{"missing_member", `"as_of"`, `"as_off"`},
		{"list_is_null", `"gaps":[`, `"gaps":null,"x":[`},
		{"odd_verdict", `"verdict":"affected"`, `"verdict":"doomed"`},
		{"odd_kb", `"kb":"KB`, `"kb":"`},
		{"number_is_text", `"affected":`, `"affected":"x","y":`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := strings.Replace(string(b), tc.old, tc.by, 1)
			var v any
			if err := json.Unmarshal([]byte(text), &v); err != nil || text == string(b) {
				t.Fatalf("the test does not change the document: %v", err)
			}
			c := checker{root: root}
			if c.whole("$", root, v); len(c.errors) == 0 {
				t.Error("no error")
			}
		})
	}
}

// TestSchemaNamesEveryField holds that no member of Document is forgotten because no
// example has it.
func TestSchemaNamesEveryField(t *testing.T) {
	schema, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var visit func(reflect.Type)
	visit = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			visit(typ.Elem())
		case reflect.Struct:
			for f := range typ.Fields() {
				if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
					if n++; !strings.Contains(string(schema), `"`+name+`": {`) {
						t.Errorf("%s.%s: the schema has no %q", typ.Name(), f.Name, name)
					}
				}
				visit(f.Type)
			}
		default:
		}
	}
	visit(reflect.TypeFor[Document]())
	if n < 60 {
		t.Errorf("looked at %d fields only", n)
	}
}
