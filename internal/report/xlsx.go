package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/xuri/excelize/v2"

	"github.com/oldguard/oldguard/internal/assess"
)

// A workbook holds what CSV does and more, a sheet for each question. Rows are streamed:
// what does not fit into some megabytes waits in a temporary file, not in memory. Text is
// stored as text, so that nothing in it is a formula, and numbers as numbers.

// sheetRows is how many rows a sheet of Excel holds, the head among them.
const sheetRows = 1_048_576

// noted is a line of one of the smaller sheets with its machine.
type noted[T any] struct {
	of T
	on *assess.Assessment
}

// sheets is what a workbook holds, in this order. The rows of a machine are made by rows.
func sheets(choice Findings) []bookSheet {
	return []bookSheet{
		sheetFor("Hosts", hostColumns(), func(a *assess.Assessment, row func(*assess.Assessment)) {
			if !Unread(a) {
				row(a)
			}
		}),
		sheetFor("Missing", itemColumns("needs"), func(a *assess.Assessment, row func(*noted[assess.Item])) {
			for _, it := range a.Updates.Missing {
				row(&noted[assess.Item]{it, a})
			}
		}),
		sheetFor("Findings", findingColumns(), func(a *assess.Assessment, row func(*found)) {
			list := choice.of(a)
			for i := range list {
				row(&found{&list[i], a})
			}
		}),
		sheetFor("Undecided", itemColumns("group"), func(a *assess.Assessment, row func(*noted[assess.Item])) {
			for _, it := range a.Updates.Undecided {
				row(&noted[assess.Item]{it, a})
			}
		}),
		sheetFor("Gaps", gapColumns(), func(a *assess.Assessment, row func(*noted[Gap])) {
			for _, g := range a.Gaps {
				row(&noted[Gap]{gapOf(g), a})
			}
		}),
	}
}

type itemRow = noted[assess.Item]

// itemColumns are those of a list of updates, with its group or its needs.
func itemColumns(last string) []column[itemRow] {
	columns := []column[itemRow]{
		{"name", 22, func(r *itemRow) any { return nameOf(r.on) }},
		{"kb", 12, func(r *itemRow) any { return r.of.KB.String() }},
		{"kind", 24, func(r *itemRow) any { return KindWords(r.of.Kind) }},
		{"released", 14, func(r *itemRow) any { return released(r.of) }},
	}
	if last == "group" {
		return append(columns, column[itemRow]{last, 34, func(r *itemRow) any { return r.of.Group }})
	}
	return append(columns,
		column[itemRow]{"offered_now", 12, func(r *itemRow) any { return yes(offered(&r.on.Updates, r.of.KB)) }},
		column[itemRow]{last, 60, func(r *itemRow) any { return joined(needTexts(r.of.Needs)) }},
		column[itemRow]{"because", 60, func(r *itemRow) any { return because(r.of.Because) }})
}

func gapColumns() []column[noted[Gap]] {
	type R = noted[Gap]
	return []column[R]{
		{"name", 22, func(r *R) any { return nameOf(r.on) }},
		{"what", 34, func(r *R) any { return r.of.What }},
		{"why", 60, func(r *R) any { return r.of.Why }},
		{"this_would_tell", 50, func(r *R) any { return r.of.Hint }},
		{"source", 40, func(r *R) any { return where(r.of.Source) }},
	}
}

func sourceColumns() []column[DataSource] {
	return []column[DataSource]{
		{"source", 60, func(s *DataSource) any { return s.Name }},
		{"last_day", 12, func(s *DataSource) any { return s.Last.Day() }},
		{"not_known_after", 10, func(s *DataSource) any { return yes(s.Stale) }},
		{"licence", 30, func(s *DataSource) any { return s.Licence }},
		{"sha256", 66, func(s *DataSource) any { return s.SHA256 }},
	}
}

// bookSheet is a sheet of a workbook.
type bookSheet struct {
	name   string
	heads  []any
	widths []float64
	rows   func(*assess.Assessment) [][]any
}

func sheetFor[T any](name string, columns []column[T], rows func(*assess.Assessment, func(*T))) bookSheet {
	s := bookSheet{name: name, rows: func(a *assess.Assessment) (out [][]any) {
		rows(a, func(v *T) {
			cells := make([]any, len(columns))
			for i, c := range columns {
				cells[i] = c.cell(v)
				if text, ok := cells[i].(string); ok {
					cells[i] = clean(text)
				}
			}
			out = append(out, cells)
		})
		return out
	}}
	for _, c := range columns {
		s.heads, s.widths = append(s.heads, c.head), append(s.widths, c.width)
	}
	return s
}

// book is a workbook in the making.
type book struct {
	w      io.Writer
	sheets []bookSheet
	file   *excelize.File
	open   []*openSheet
	// sources are those of the catalogue, the same for all machines.
	sources [][]any
}

// openSheet is a sheet that is being written.
type openSheet struct {
	*excelize.StreamWriter
	bookSheet
	rows, left int // rows written, and rows for which there was no room
}

// bookRows is the rows of one machine, by sheet.
type bookRows struct {
	sheets  [][][]any
	sources [][]any
}

func openXLSX(w io.Writer, o Options) Writer {
	return &book{w: w, sheets: sheets(cmp.Or(o.Findings, Open))}
}

// Prepare makes the rows of one machine.
func (b *book) Prepare(a *assess.Assessment) (Part, error) {
	var r bookRows
	for _, s := range b.sheets {
		r.sheets = append(r.sheets, s.rows(a))
	}
	r.sources = bookSources.rows(a)
	return Part{Level: a.Level(), Unread: Unread(a), more: &r}, nil
}

// bookSources is the last sheet, which is the same for all machines.
var bookSources = sheetFor("Sources", sourceColumns(), func(a *assess.Assessment, row func(*DataSource)) {
	for _, s := range sourcesOf(a) {
		row(&s)
	}
})

// Write writes the rows of one machine.
func (b *book) Write(p Part) error {
	if err := b.begin(); err != nil {
		return err
	}
	r := p.more.(*bookRows)
	b.sources = r.sources
	for i, rows := range r.sheets {
		if err := b.open[i].add(rows); err != nil {
			return err
		}
	}
	return nil
}

// begin makes the sheets with their heads.
func (b *book) begin() error {
	if b.file != nil {
		return nil
	}
	b.file = excelize.NewFile()
	bold, err := b.file.NewStyle(&excelize.Style{Font: &excelize.Font{Bold: true}})
	if err != nil {
		return err
	}
	for i, s := range append(slices.Clip(b.sheets), bookSources) {
		if i == 0 {
			err = b.file.SetSheetName("Sheet1", s.name)
		} else {
			_, err = b.file.NewSheet(s.name)
		}
		if err != nil {
			return err
		}
		stream, err := b.file.NewStreamWriter(s.name)
		if err != nil {
			return err
		}
		for c, w := range s.widths {
			if err = stream.SetColWidth(c+1, c+1, w); err != nil {
				return err
			}
		}
		err = stream.SetPanes(&excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"})
		if err != nil {
			return err
		}
		if err = stream.SetRow("A1", s.heads, excelize.RowOpts{StyleID: bold}); err != nil {
			return err
		}
		b.open = append(b.open, &openSheet{StreamWriter: stream, bookSheet: s, rows: 1})
	}
	return nil
}

// add writes rows as far as there is room; the last row of a full sheet says what is not
// there.
func (s *openSheet) add(rows [][]any) error {
	for i, cells := range rows {
		if s.rows >= sheetRows-1 {
			s.left += len(rows) - i
			return nil
		}
		s.rows++
		if err := s.SetRow(fmt.Sprintf("A%d", s.rows), cells); err != nil {
			return err
		}
	}
	return nil
}

// close ends a sheet. The filter comes with a table, which needs a row besides the heads.
func (s *openSheet) close() error {
	if s.rows > 1 {
		end, err := excelize.CoordinatesToCellName(len(s.heads), s.rows)
		if err != nil {
			return err
		}
		if err := s.AddTable(&excelize.Table{Range: "A1:" + end, Name: s.name + "Table", StyleName: "TableStyleLight1"}); err != nil {
			return err
		}
	}
	if s.left > 0 {
		more := fmt.Sprintf("%d more rows are left out: a sheet holds no more than %d. The format jsonl holds all.", s.left, sheetRows)
		if err := s.SetRow(fmt.Sprintf("A%d", s.rows+1), []any{more}); err != nil {
			return err
		}
	}
	return s.Flush()
}

// Close writes the workbook.
func (b *book) Close() (err error) {
	if err = b.begin(); err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, b.file.Close()) }() // it removes the temporary files
	if err = b.open[len(b.open)-1].add(b.sources); err != nil {
		return err
	}
	for _, s := range b.open {
		if err = s.close(); err != nil {
			return err
		}
	}
	return b.file.Write(b.w)
}
