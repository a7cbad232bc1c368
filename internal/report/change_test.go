package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/golden"
)

// earlier reads a report.
func earlier(tb testing.TB, b []byte) *Earlier {
	tb.Helper()
	e, err := ReadEarlier(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// TestEarlierForms reads one report in each form it may be stored in.
func TestEarlierForms(t *testing.T) {
	one := write(t, jsonFormat(t, "json"), Options{Findings: Affected}, assessed(t, "../../examples/fs01", "2025-06-01"))
	var spaced bytes.Buffer
	if err := json.Indent(&spaced, one, "", "\t"); err != nil {
		t.Fatal(err)
	}
	now := assessed(t, "../../examples/fs01", "2025-06-20")
	many := []*assess.Assessment{assessed(t, "../../examples/fs02", "2025-06-01"), assessed(t, "../../examples/fs01", "2025-06-01")}
	wide := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(string(one))) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	list := write(t, jsonFormat(t, "json"), Options{Many: true}, many...)
	var sorted any // as jq -S writes it: "assessments" before "schema"
	if err := json.Unmarshal(list, &sorted); err != nil {
		t.Fatal(err)
	}
	turned, err := json.MarshalIndent(sorted, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var want *difference
	for _, tc := range []struct {
		name string
		b    []byte
	}{
		{"document", one},
		{"indented", spaced.Bytes()},
		{"utf8_mark", append([]byte("\xef\xbb\xbf"), one...)},
		{"utf16", wide},
		{"list", list},
		{"list_sorted", turned},
		{"lines", write(t, jsonFormat(t, "jsonl"), Options{Many: true}, many...)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, err := earlier(t, tc.b).differ(now, false)
			if err != nil {
				t.Fatal(err)
			}
			if !d.compared || len(d.NewExploited()) == 0 {
				t.Fatalf("compared %v, %d newly exploited", d.compared, len(d.NewExploited()))
			}
			if want == nil {
				want = d
			}
			if diff := cmp.Diff(want.document(), d.document()); diff != "" {
				t.Errorf("another change than from the document (-want +got):\n%s", diff)
			}
		})
	}
}

func jsonFormat(tb testing.TB, name string) Format {
	tb.Helper()
	f, ok := Find(Formats(), name)
	if !ok {
		tb.Fatalf("no format %s", name)
	}
	return f
}

func TestEarlierIsNone(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "EOF"},
		{"no_json", "Host Name: FS01", "no JSON"},
		{"other_json", `{"schema":"oldguard/inspection/1","host":{}}`, `"oldguard/inspection/1", not "oldguard/assessment/1"`},
		{"later_version", `{"schema":"oldguard/assessment/2"}`, `"oldguard/assessment/2"`},
		{"no_machine", `{"schema":"oldguard/assessments/1","assessments":[]}`, "no machine"},
		{"cut", `{"schema":"oldguard/assessment/1","host":{"name"`, "no JSON"},
		{"array", `[1,2]`, "no JSON"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ReadEarlier(strings.NewReader(tc.text), int64(len(tc.text)))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

// TestBackcompat reads what earlier versions wrote.
func TestBackcompat(t *testing.T) {
	for _, tc := range []struct {
		file     string
		day      string
		machines int
	}{
		{"one.json", "2025-08-25", 1}, {"many.json", "2020-02-01", 3}, {"lines.jsonl", "2020-02-01", 3},
	} {
		t.Run(tc.file, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("testdata/backcompat", tc.file))
			if err != nil {
				t.Fatal(err)
			}
			e := earlier(t, b)
			if len(e.machines) != tc.machines {
				t.Errorf("%d machines, want %d", len(e.machines), tc.machines)
			}
			d, err := e.differ(assessed(t, "../../examples/fs01", tc.day), tc.machines > 1)
			if err != nil {
				t.Fatal(err)
			}
			if !d.compared || d.Since == 0 {
				t.Fatalf("not compared: %q", d.undecided)
			}
			// What the report was written with is what was installed then.
			if len(d.Installed)+len(d.Removed) > 0 || d.Release != [2]string{} || d.Build != [2]string{} {
				t.Errorf("the same evidence differs: installed %v, removed %v, release %q, build %q", d.Installed, d.Removed, d.Release, d.Build)
			}
		})
	}
}

// TestChange writes what changes between two days, or between two machines of one name.
func TestChange(t *testing.T) {
	fs01 := func(day string) *assess.Assessment { return assessed(t, "../../examples/fs01", day) }
	patched := *fs01("2025-06-20").Host
	patched.Updates.Merge(fs01("2025-06-20").Host.Updates)
	patched.Updates.Add(5061026, patched.Name.Claims()[0].From)
	for _, tc := range []struct {
		name   string
		before []byte
		now    *assess.Assessment
		want   assess.Level
	}{
		{"exploited", document(t, fs01("2025-06-01")), fs01("2025-08-25"), assess.Bad},
		{"nothing", document(t, fs01("2025-06-02")), fs01("2025-06-02"), assess.Clear},
		{"patched", document(t, fs01("2025-06-20")), assessedHost(t, &patched, "2025-06-20"), assess.Clear},
		{"source_too_old", document(t, fs01("2025-08-25")), fs01("2025-08-26"), assess.Undecided},
		{"backwards", document(t, fs01("2025-06-02")), fs01("2025-06-01"), assess.Undecided},
		{"no_counterpart", document(t, assessed(t, "../../examples/fs02", "2025-06-01")), fs01("2025-06-01"), assess.Undecided},
		{"cut_report", write(t, jsonFormat(t, "json"), Options{Findings: Top}, fs01("2025-06-01")), fs01("2025-06-20"), assess.Undecided},
		{"hostile", document(t, assessedHost(t, hostile(), "2025-06-01")), assessedHost(t, hostile(), "2025-08-25"), assess.Undecided},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := Options{Since: earlier(t, tc.before)}
			d, err := o.Since.differ(tc.now, false)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.level(); got != tc.want {
				t.Errorf("level %s, want %s: %q", levels[got], levels[tc.want], d.undecided)
			}
			text := write(t, Changes()[0], o, tc.now)
			golden.Check(t, filepath.Join("testdata/change", tc.name+".txt"), text)
			for _, r := range string(text) {
				if r != '\n' && unsafe(r) {
					t.Fatalf("%q in the text", r)
				}
			}
			var c told
			encoded := write(t, Changes()[1], o, tc.now)
			if err := json.Unmarshal(encoded, &c); err != nil {
				t.Fatal(err)
			}
			var v any
			if err := json.Unmarshal(encoded, &v); err != nil {
				t.Fatal(err)
			}
			check := checker{root: readSchema(t, "../../docs/schema/change-1.json")}
			check.whole("$", check.root, v)
			for _, e := range check.errors {
				t.Error(e)
			}
			if c.Schema != schemaChange || c.Level != levels[tc.want] || len(c.New) != len(d.New) {
				t.Errorf("schema %q, level %q, %d new; want %q, %q, %d", c.Schema, c.Level, len(c.New), schemaChange, levels[tc.want], len(d.New))
			}
		})
	}
}

// told is what the test reads of a change.
type told struct {
	Schema string            `json:"schema"`
	Level  string            `json:"level"`
	New    []json.RawMessage `json:"new"`
}

func document(tb testing.TB, a *assess.Assessment) []byte {
	tb.Helper()
	return write(tb, jsonFormat(tb, "json"), Options{}, a)
}

// TestGone names the machines that are there no more.
func TestGone(t *testing.T) {
	fs01, fs02 := assessed(t, "../../examples/fs01", "2025-06-01"), assessed(t, "../../examples/fs02", "2025-06-01")
	app := assessed(t, "../../examples/app03", "2025-06-01")
	o := Options{Many: true, Since: earlier(t, write(t, jsonFormat(t, "jsonl"), Options{Many: true}, fs01, fs02))}
	var c struct {
		Schema  string   `json:"schema"`
		Changes []told   `json:"changes"`
		Gone    []string `json:"gone"`
	}
	if err := json.Unmarshal(write(t, Changes()[1], o, fs01, app), &c); err != nil {
		t.Fatal(err)
	}
	if c.Schema != schemaChanges || len(c.Changes) != 2 || !slices.Equal(c.Gone, []string{"FS02"}) {
		t.Errorf("%q, %d changes, gone %q; want FS02 gone", c.Schema, len(c.Changes), c.Gone)
	}
	if c.Changes[0].Level != "clear" || c.Changes[1].Level != "undecided" {
		t.Errorf("levels %q and %q", c.Changes[0].Level, c.Changes[1].Level)
	}
	if text := write(t, Changes()[0], o, fs01, app); !bytes.Contains(text, []byte("not looked at now: FS02")) {
		t.Errorf("the text does not name FS02:\n%s", text)
	}
}

// FuzzReadEarlier holds that no file is too odd, and that what is read can be compared.
func FuzzReadEarlier(f *testing.F) {
	for _, name := range []string{"one.json", "many.json", "lines.jsonl"} {
		b, err := os.ReadFile(filepath.Join("testdata/backcompat", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\xff\xfe{\x00}\x00"))
	f.Add([]byte(`{"schema":"oldguard/assessment/1"}`))
	now := assessed(f, "../../examples/fs02", "2020-02-01")
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ReadEarlier(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if d, err := e.differ(now, false); err == nil && d.compared == (len(d.undecided) > 0 && strings.HasPrefix(d.undecided[0], "the earlier report does not")) {
			t.Errorf("compared %v, %q", d.compared, d.undecided)
		}
	})
}
