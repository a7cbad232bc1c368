package oldguard_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/golden"
)

// The table of evidence and questions in docs/evidence.md says what the expected results of
// the readers' tests show, so that it claims nothing that is not tested. `make docs` mends it.
const (
	tableBegin = "<!-- table: what each kind of evidence tells; make docs writes it -->\n"
	tableEnd   = "<!-- end of table -->\n"
)

// What evidence tells.
const (
	tellsNothing = iota
	tellsSome    // what it names; what it does not name may be there
	tellsYes
	tellsWhole // what it does not name is not there
)

// seen is one machine in an expected result.
type seen map[string]json.RawMessage

// has tells whether a member is there.
func (s seen) has(key string) int {
	if _, ok := s[key]; ok {
		return tellsYes
	}
	return tellsNothing
}

// list tells what a list says: some, or whole if that is stated beside it.
func (s seen) list(key, whole string) int {
	switch {
	case s.has(key) == tellsNothing:
		return tellsNothing
	case string(s[whole]) == "true":
		return tellsWhole
	}
	return tellsSome
}

var revision = regexp.MustCompile(`"\d+\.\d+\.\d+\.\d+"`)

// questions are the columns.
var questions = []struct {
	name string
	tell func(s seen) int
}{
	{"name", func(s seen) int { return s.has("name") }},
	{"domain, role", func(s seen) int { return max(min(s.has("domain"), tellsSome), s.has("role")) }},
	{"version", func(s seen) int { return s.has("build") }},
	{"revision", func(s seen) int {
		if revision.Match(s["build"]) {
			return tellsYes
		}
		return tellsNothing
	}},
	{"architecture", func(s seen) int { return s.has("arch") }},
	{"edition", func(s seen) int { return s.has("edition") }},
	{"updates", func(s seen) int {
		if strings.Contains(strings.ReplaceAll(string(s["listings"]), " ", ""), `"Whole":true`) {
			return tellsWhole
		}
		return min(s.has("updates"), tellsSome)
	}},
	{"package states", func(s seen) int { return min(s.has("packages"), tellsSome) }},
	{"restart pending", func(s seen) int { return max(min(s.has("restart"), tellsSome), s.has("restart_checked")) }},
	{"licences", func(s seen) int { return s.list("licences", "licences_whole") }},
	{"programs", func(s seen) int { return s.list("programs", "programs_whole") }},
	{"services, firewall, shares", func(s seen) int {
		return max(s.list("services", "services_whole"), min(max(s.has("settings"), s.has("shares")), tellsSome))
	}},
	{"own addresses", func(s seen) int { return min(max(s.has("adapters"), s.has("addresses")), tellsSome) }},
	{"connections", func(s seen) int { return min(s.has("traffic"), tellsSome) }},
	{"ports, processes", func(s seen) int { return min(max(s.has("listeners"), s.has("processes")), tellsSome) }},
	{"started", func(s seen) int { return s.has("booted") }},
	{"errors", func(s seen) int { return min(s.has("errors"), tellsSome) }},
}

// TestEvidenceTable keeps the table equal to what the readers' tests expect.
func TestEvidenceTable(t *testing.T) {
	const doc = "docs/evidence.md"
	text := readFile(t, doc)
	before, rest, ok := strings.Cut(text, tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !ok || !ended {
		t.Fatalf("%s has no table between %q and %q", doc, tableBegin, tableEnd)
	}
	golden.Check(t, doc, []byte(before+tableBegin+evidenceTable(t)+tableEnd+after))
}

func evidenceTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("\n| evidence |")
	for _, q := range questions {
		b.WriteString(" " + q.name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(questions)) + "\n")
	rows := 0
	for _, r := range all.Readers() {
		row, told := "| `"+r.Name+"` |", false
		machines := expected(t, r.Name)
		for _, q := range questions {
			best := tellsNothing
			for _, s := range machines {
				best = max(best, q.tell(s))
			}
			told = told || best > tellsNothing
			row += [...]string{tellsNothing: "", tellsSome: " some", tellsYes: " yes", tellsWhole: " whole"}[best] + " |"
		}
		if told { // one that only leads to other evidence tells nothing itself
			b.WriteString(row + "\n")
			rows++
		}
	}
	if rows < 10 {
		t.Errorf("the table has %d rows only", rows)
	}
	b.WriteString("\n")
	return b.String()
}

// expected gives the machines in all expected results of a reader's tests.
func expected(t *testing.T, reader string) (machines []seen) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("internal/evidence", reader, "testdata/*/want.json"))
	if err != nil { // that there are some is for TestReaders
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var list []seen
		if err := json.Unmarshal(b, &list); err != nil {
			t.Fatal(fmt.Errorf("%s: %w", name, err))
		}
		machines = append(machines, list...)
	}
	return machines
}
