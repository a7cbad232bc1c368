package web_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/fleet/alert"
	"github.com/oldguard/oldguard/internal/notify"
)

// schema is what of JSON Schema the document uses.
type schema struct {
	Ref        string             `json:"$ref"`
	Type       any                `json:"type"` // a word, or a list of them
	Format     string             `json:"format"`
	Enum       []any              `json:"enum"`
	Minimum    *float64           `json:"minimum"`
	Maximum    *float64           `json:"maximum"`
	MinLength  *int               `json:"minLength"`
	MaxLength  *int               `json:"maxLength"`
	MinItems   *int               `json:"minItems"`
	MaxItems   *int               `json:"maxItems"`
	Items      *schema            `json:"items"`
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	More       any                `json:"additionalProperties"`
}

type openAPI struct {
	OpenAPI string                           `json:"openapi"`
	Paths   map[string]map[string]*operation `json:"paths"`
	Parts   struct {
		Schemas map[string]*schema `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	Parameters []struct {
		Name, In string
		Required bool
		Schema   *schema
	} `json:"parameters"`
	Body *struct {
		Content map[string]struct{ Schema *schema } `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Content map[string]struct{ Schema *schema } `json:"content"`
	} `json:"responses"`
}

func (d *openAPI) follow(s *schema) *schema {
	for s != nil && s.Ref != "" {
		s = d.Parts.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	return s
}

func (s *schema) types() (list []string) {
	switch t := s.Type.(type) {
	case string:
		return []string{t}
	case []any:
		for _, v := range t {
			list = append(list, v.(string))
		}
	}
	return list
}

// check says where a value is not as the schema has it; "" where it is.
func (d *openAPI) check(s *schema, v any, at string) string {
	if s = d.follow(s); s == nil {
		return ""
	}
	kind := ""
	switch v := v.(type) {
	case nil:
		kind = "null"
	case bool:
		kind = "boolean"
	case float64:
		if kind = "number"; v == float64(int64(v)) {
			kind = "integer"
		}
	case string:
		kind = "string"
	case []any:
		kind = "array"
	case map[string]any:
		kind = "object"
	}
	if types := s.types(); len(types) > 0 && !slices.Contains(types, kind) && (kind != "integer" || !slices.Contains(types, "number")) {
		return fmt.Sprintf("%s is a %s, not a %v", at, kind, s.Type)
	}
	if len(s.Enum) > 0 && kind != "null" && !slices.Contains(s.Enum, v) {
		return fmt.Sprintf("%s is %v, not one of %v", at, v, s.Enum)
	}
	switch v := v.(type) {
	case float64:
		if s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
			return fmt.Sprintf("%s is %v", at, v)
		}
	case string:
		if s.Format == "date-time" {
			if _, err := time.Parse(time.RFC3339, v); err != nil {
				return fmt.Sprintf("%s: %v", at, err)
			}
		}
	case []any:
		for i, item := range v {
			if wrong := d.check(s.Items, item, fmt.Sprintf("%s[%d]", at, i)); wrong != "" {
				return wrong
			}
		}
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				return at + " lacks " + name
			}
		}
		for name, item := range v {
			property := s.Properties[name]
			if property == nil && s.More == false {
				return at + " has " + name
			}
			if property == nil {
				continue
			}
			if wrong := d.check(property, item, at+"."+name); wrong != "" {
				return wrong
			}
		}
	}
	return ""
}

// generator makes values in and around the bounds of schemas.
type generator struct {
	*rand.Rand

	d *openAPI
}

var oddWords = []string{
	"", " ", "0", "-1", "1", "null", "true", "x", "worst", "name", "2026-11-25", "2026-13-45", "9999-12-31", "0000-00-00", "KB4474419", "KB0", "KB99999999999999999999",
	"CVE-2020-1472", "6.0.6003.22015", "6003", "4294967295.4294967296.1.1", "critical", "bad", "affected", "windows-server-2008-sp2", "'", "\"", "%", "_", "\\", "' OR 1=1 --",
	"\x00", "a\x00b", "\xff\xfe", "\u202e", "\u0130ı", "🏥", "../../etc/passwd", "=cmd()", "<script>", "eyJpIjoxfQ", "eyJ2IjoiYSIsImkiOjF9", "e30", "bnVsbA", "9223372036854775807",
	"9223372036854775808", "-9223372036854775808", "1e400", "NaN", "2026-11-25T00:00:00Z", "10000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59+23:59",
}

func (g *generator) odd() string {
	if g.IntN(20) == 0 {
		return strings.Repeat(oddWords[g.IntN(len(oddWords))]+"a", 1+g.IntN(3000))
	}
	return oddWords[g.IntN(len(oddWords))]
}

// value gives a value for a schema; one in eight is not even of its type.
func (g *generator) value(s *schema, depth int) any {
	if s = g.d.follow(s); s == nil || depth > 6 || g.IntN(8) == 0 {
		return []any{nil, true, g.odd(), float64(g.IntN(5)), -1.5, []any{}, map[string]any{}, 1e300}[g.IntN(8)]
	}
	if len(s.Enum) > 0 && g.IntN(4) > 0 {
		return s.Enum[g.IntN(len(s.Enum))]
	}
	types := s.types()
	if len(types) == 0 {
		return g.odd()
	}
	switch types[g.IntN(len(types))] {
	case "boolean":
		return g.IntN(2) == 0
	case "integer", "number":
		low, high := 0.0, 5.0
		if s.Minimum != nil {
			low = *s.Minimum
		}
		if s.Maximum != nil {
			high = *s.Maximum
		}
		return []float64{low, low - 1, low + 1, low + 2, high, high + 1, 1, 2, 9e15, -9e15}[g.IntN(10)]
	case "string":
		if s.MaxLength != nil && g.IntN(6) == 0 {
			return strings.Repeat("é", *s.MaxLength+g.IntN(3)-1)
		}
		return g.odd()
	case "array":
		n := g.IntN(4)
		if s.MaxItems != nil && *s.MaxItems < 100 && g.IntN(6) == 0 {
			n = *s.MaxItems + g.IntN(3) - 1
		}
		list := make([]any, n)
		for i := range list {
			list[i] = g.value(s.Items, depth+1)
		}
		return list
	case "object":
		o := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			if slices.Contains(s.Required, name) && g.IntN(20) > 0 || g.IntN(2) == 0 {
				o[name] = g.value(s.Properties[name], depth+1)
			}
		}
		if g.IntN(12) == 0 {
			o[g.odd()] = g.odd()
		}
		return o
	}
	return nil
}

// text gives a value of a parameter as it stands in an address.
func (g *generator) text(s *schema) string {
	switch v := g.value(s, 5).(type) {
	case float64:
		return fmt.Sprintf("%.0f", v)
	case []any:
		words := make([]string, len(v))
		for i, item := range v {
			words[i] = fmt.Sprint(item)
		}
		return strings.Join(words, ",")
	default:
		return fmt.Sprint(v)
	}
}

// clean makes what net/http sends as a header of what it refuses to.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

func (s *site) document() (d openAPI) {
	s.t.Helper()
	res, body := s.call("GET", "/api/v1/openapi.json", "", "")
	if res.StatusCode != http.StatusOK {
		s.t.Fatal(res.StatusCode)
	}
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		s.t.Fatal(err)
	}
	return d
}

// moving lets the time go on by some milliseconds whenever the server asks for it, so that
// nobody is held up for asking often.
func (s *site) moving() {
	var n atomic.Int64
	s.web.Now = func() time.Time { return today.Add(time.Duration(n.Add(1)) * 20 * time.Millisecond) }
}

// generatedRoutes is how many routes there are, of which some will be removed.
const generatedRoutes = 60

// TestGeneratedRequests: whatever a request is, no answer is a failure of the server, each is
// one that the document names and as it describes it, and what is refused is refused in words.
func TestGeneratedRequests(t *testing.T) {
	total := 10_000
	if raceEnabled || testing.Short() {
		total = 1_500
	}
	s := newSite(t)
	s.setUp()
	s.moving()
	for _, f := range []string{"fs01", "fs02"} {
		s.feed(f+".txt", example(t, f+"/systeminfo.txt"))
	}
	channel, err := s.web.Alerts.PutChannel(t.Context(), alert.Channel{Name: "ops", Kind: "slack", Settings: notify.Settings{"url": "https://chat.example.com/x"}})
	if err != nil {
		t.Fatal(err)
	}
	for range generatedRoutes {
		if _, err = s.web.Alerts.PutRoute(t.Context(), alert.Route{Channel: channel}); err != nil {
			t.Fatal(err)
		}
	}
	d := s.document()
	if d.OpenAPI[:3] != "3.1" {
		t.Errorf("OpenAPI %s", d.OpenAPI)
	}
	tokens := []access.Secret{
		"", s.token("viewer", access.Viewer, access.See), s.token("operator", access.Operator, access.See, access.Send, access.Decide),
		s.token("administrator", access.Administrator, access.Permissions()...), "oldguard_guess",
	}
	const seed = 8
	g := &generator{rand.New(rand.NewPCG(seed, seed)), &d} // #nosec G404 -- to be the same each time
	type one struct{ method, path string }
	var all []one
	for path, methods := range d.Paths {
		for method := range methods {
			all = append(all, one{strings.ToUpper(method), path})
		}
	}
	slices.SortFunc(all, func(a, b one) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.method, b.method)) })
	if len(all) < 18 {
		t.Fatalf("only %d operations", len(all))
	}
	dear := map[one]bool{{"GET", "/api/v1/openapi.json"}: true, {"GET", "/api/v1/hosts/{id}/assessment"}: true, {"POST", "/api/v1/evidence"}: true}
	answers := map[int]int{}
	good := map[one]bool{}
	for i := range total {
		o := all[i%len(all)]
		if dear[o] && i/len(all)%10 != 0 { // a tenth of these does
			o = all[g.IntN(len(all))]
		}
		op := d.Paths[o.path][strings.ToLower(o.method)]
		path, query, headers, body := o.path, url.Values{}, []string(nil), ""
		for _, p := range op.Parameters {
			if p.In != "path" && g.IntN(3) > 0 && !p.Required {
				continue
			}
			v := g.text(p.Schema)
			switch p.In {
			case "path":
				switch {
				case o.path == "/api/v1/routes/{id}" && g.IntN(2) == 0:
					v = fmt.Sprint(1 + g.IntN(generatedRoutes))
				case g.IntN(2) == 0 && p.Name == "id":
					v = []string{"1", "2"}[g.IntN(2)]
				}
				if v == "" || v == "." || v == ".." {
					v = "x"
				}
				path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(v))
			case "query":
				query.Set(p.Name, v)
			case "header":
				headers = append(headers, p.Name, clean(v))
			}
		}
		if g.IntN(30) == 0 {
			query.Set(g.odd(), g.odd())
		}
		if op.Body != nil {
			if content, ok := op.Body.Content["application/json"]; ok {
				b, err := json.Marshal(g.value(content.Schema, 0))
				if err != nil {
					t.Fatal(err)
				}
				body = string(b)
				headers = append(headers, "Content-Type", "application/json")
			} else {
				body = g.odd()
			}
			switch {
			case g.IntN(30) == 0:
				body = g.odd()
			case o.path == "/api/v1/risks" && g.IntN(3) == 0: // values that depend on each other
				body = `{"host":0,"cve":"CVE-2020-1472","reason":"generated","until":"2026-12-31"}`
			case strings.HasPrefix(o.path, "/api/v1/routes") && g.IntN(3) == 0:
				body = `{"channel":1,"rules":["unseen"],"tags":["dmz"]}`
			}
		}
		token := tokens[g.IntN(len(tokens))]
		if g.IntN(2) == 0 {
			token = tokens[3]
		}
		if len(query) > 0 {
			path += "?" + query.Encode()
		}
		res, got := s.call(o.method, path, token, body, headers...)
		answers[res.StatusCode]++
		fail := func(why string) {
			t.Errorf("request %d of seed %d: %s %s with %.300q: %d %.300s: %s", i, seed, o.method, path, body, res.StatusCode, got, why)
		}
		kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
		described, ok := op.Responses[fmt.Sprint(res.StatusCode)]
		if !ok && res.StatusCode != http.StatusNotModified {
			fail("the document has no such answer")
		}
		switch {
		case res.StatusCode >= 500:
			fail("it failed")
		case res.StatusCode >= 400:
			if kind != "application/problem+json" {
				fail("no problem+json but " + kind)
			}
		case res.StatusCode < 300:
			good[o] = true
		}
		if content, ok := described.Content[kind]; ok && got != "" {
			var v any
			if err := json.Unmarshal([]byte(got), &v); err != nil {
				fail(err.Error())
			} else if wrong := d.check(content.Schema, v, "it"); wrong != "" {
				fail(wrong)
			}
		} else if got != "" && len(described.Content) > 0 && kind != "application/problem+json" {
			fail("the document has no " + kind)
		}
		if t.Failed() && i > 2000 {
			break
		}
	}
	for _, o := range all {
		if !good[o] && o.path != "/api/v1/alerts/{id}/acknowledge" { // there is no alert here: see alerts_test.go
			t.Errorf("%s %s was never answered well: the generator does not reach it", o.method, o.path)
		}
	}
	if answers[http.StatusUnauthorized] == 0 || answers[http.StatusForbidden] == 0 || answers[http.StatusUnprocessableEntity] == 0 {
		t.Errorf("answers: %v", answers)
	}
	t.Logf("answers: %v", answers)
}

// TestPagesOfMachines: who follows next meets each machine once, in whatever order, also while
// machines change; what changed its place may be met there, but nothing else is lost.
func TestPagesOfMachines(t *testing.T) {
	many := 1_500
	if raceEnabled || testing.Short() {
		many = 150
	}
	s := newSite(t)
	s.setUp()
	s.moving()
	token := s.token("viewer", access.Administrator, access.Permissions()...)
	s.machines(many)
	type list struct {
		Hosts []struct {
			ID   int64
			Name *string
		}
		Next  *string
		Total int
	}
	walk := func(t *testing.T, sort string, reverse bool, limit int, between func(page int)) map[int64]int {
		t.Helper()
		seen := map[int64]int{}
		cursor := ""
		for page := 0; ; page++ {
			if page > many {
				t.Fatal("it does not end")
			}
			q := url.Values{"sort": {sort}, "reverse": {fmt.Sprint(reverse)}, "limit": {fmt.Sprint(limit)}}
			if cursor != "" {
				q.Set("cursor", cursor)
			}
			res, body := s.call("GET", "/api/v1/hosts?"+q.Encode(), token, "")
			var l list
			if err := json.Unmarshal([]byte(body), &l); err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("%d %.300s: %v", res.StatusCode, body, err)
			}
			if l.Total != many || len(l.Hosts) > limit {
				t.Fatalf("total %d, %d on a page of %d", l.Total, len(l.Hosts), limit)
			}
			for _, h := range l.Hosts {
				seen[h.ID]++
			}
			if l.Next == nil {
				return seen
			}
			cursor = *l.Next
			if between != nil {
				between(page)
			}
		}
	}
	once := func(t *testing.T, seen map[int64]int) {
		t.Helper()
		for id, n := range seen {
			if n != 1 {
				t.Errorf("machine %d was met %d times", id, n)
			}
		}
		if len(seen) != many {
			t.Errorf("%d of %d machines", len(seen), many)
		}
	}
	for _, sort := range []string{"worst", "name", "release", "behind", "affected", "missing", "seen", "criticality"} {
		for _, reverse := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s_%v", sort, reverse), func(t *testing.T) { once(t, walk(t, sort, reverse, many/7, nil)) })
		}
	}
	t.Run("while_machines_change", func(t *testing.T) { // by name, which an edit does not touch
		once(t, walk(t, "name", false, many/15, func(page int) {
			body := fmt.Sprintf(`{"ids":[1,%d,%d],"edit":{"site":"S%d","criticality":"high"}}`, many/2, many, page)
			if res, text := s.call("POST", "/api/v1/hosts/edit", token, body); res.StatusCode != http.StatusOK {
				t.Fatalf("%d %s", res.StatusCode, text)
			}
		}))
	})
	t.Run("while_they_change_their_places", func(t *testing.T) { // only what moved may be met twice or not at all
		moved := map[int64]bool{}
		seen := walk(t, "criticality", false, many/15, func(page int) {
			id := int64(page + 2)
			moved[id] = true
			if res, text := s.call("PATCH", fmt.Sprintf("/api/v1/hosts/%d", id), token, fmt.Sprintf(`{"criticality":%q}`, []string{"low", "critical"}[page%2])); res.StatusCode != http.StatusOK {
				t.Fatalf("%d %s", res.StatusCode, text)
			}
		})
		for id := range int64(many) {
			if n := seen[id+1]; n != 1 && !moved[id+1] {
				t.Errorf("machine %d, which stayed, was met %d times", id+1, n)
			}
		}
	})
	t.Run("etag_of_a_page", func(t *testing.T) {
		const path = "/api/v1/hosts?limit=2&sort=name"
		res, body := s.call("GET", path, token, "")
		tag := res.Header.Get("ETag")
		same, none := s.call("GET", path, token, "", "If-None-Match", `"other", W/`+tag)
		if tag == "" || same.StatusCode != http.StatusNotModified || none != "" {
			t.Errorf("ETag %s, again %d %s", tag, same.StatusCode, none)
		}
		if other, _ := s.call("GET", "/api/v1/hosts?limit=3&sort=name", token, "", "If-None-Match", tag); other.StatusCode != http.StatusOK {
			t.Errorf("another page: %d", other.StatusCode)
		}
		id := regexp.MustCompile(`"id":([0-9]+)`).FindStringSubmatch(body)[1]
		if res, text := s.call("PATCH", "/api/v1/hosts/"+id, token, `{"owner":"another than before"}`); res.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", res.StatusCode, text)
		}
		if other, _ := s.call("GET", path, token, "", "If-None-Match", tag); other.StatusCode != http.StatusOK || other.Header.Get("ETag") == tag {
			t.Errorf("after a change: %d, %s", other.StatusCode, other.Header.Get("ETag"))
		}
	})
	t.Run("etag", func(t *testing.T) {
		res, _ := s.call("GET", "/api/v1/hosts/1", token, "")
		tag := res.Header.Get("ETag")
		for _, tt := range []struct {
			match string
			want  int
		}{{tag, 304}, {"W/" + tag, 304}, {`"other", ` + tag, 304}, {"*", 304}, {`"other"`, 200}, {strings.Trim(tag, `"`), 200}, {"", 200}} {
			if res, body := s.call("GET", "/api/v1/hosts/1", token, "", "If-None-Match", tt.match); res.StatusCode != tt.want || tt.want == 304 && body != "" {
				t.Errorf("If-None-Match %q: %d %.100s", tt.match, res.StatusCode, body)
			}
		}
		if res, _ := s.call("PATCH", "/api/v1/hosts/1", token, `{"owner":"somebody else"}`); res.StatusCode != http.StatusOK {
			t.Fatal(res.StatusCode)
		}
		if res, body := s.call("GET", "/api/v1/hosts/1", token, "", "If-None-Match", tag); res.StatusCode != http.StatusOK || !strings.Contains(body, "somebody else") {
			t.Errorf("with the ETag of before a change of its owner: %d", res.StatusCode)
		}
	})
}

// machines brings so many machines in one archive, and waits for them.
func (s *site) machines(n int) {
	s.t.Helper()
	text := example(s.t, "fs02/systeminfo.txt")
	u, _, err := s.fleet.Receive(s.t.Context(), fleet.Archived(func(yield func(fleet.File, error) bool) {
		for i := range n {
			name := fmt.Sprintf("srv%05d", i)
			if !yield(textFile(name+".txt", strings.ReplaceAll(text, "FS02", name)), nil) {
				return
			}
		}
	}), fleet.Meta{Name: "all.zip", By: "test", Via: fleet.ViaAPI})
	if err != nil {
		s.t.Fatal(err)
	}
	if u = s.wait(u.ID); u.Machines != n {
		s.t.Fatalf("%d machines of %d: %s", u.Machines, n, u.Error)
	}
}

func textFile(name, text string) fleet.File {
	return fleet.File{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
}
