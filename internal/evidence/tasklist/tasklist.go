// Package tasklist reads what tasklist of Windows prints about running processes, as a
// table, a list (/fo list) and CSV (/fo csv), in any display language.
//
// It goes by the number of columns and by their values: a name, then a number, then with
// /svc the services. What stands for no services in the language of the machine is what
// the idle process has there.
package tasklist

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "tasklist"

// Reader reads the output of tasklist.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `The running processes as tasklist prints them, as a table, a list (/fo list) or CSV (/fo csv), in any language, with
/svc, /v or neither. Obtain it with: tasklist /svc > tasklist.txt
It proves which programs ran, by the numbers that netstat -o shows for connections, and with /svc which services ran
in them. A table shortens the names of programs to 25 letters; CSV does not.`,
	Sniff: func(p evidence.Probe) bool { return len(parse(p.Text, true)) > 0 },
	Read:  read,
}

// Bounds of what is kept.
const (
	maxTasks    = 50_000
	maxServices = 500 // in one process
	maxName     = 260 // of a program or a service, as Windows allows
)

// task is a process as printed.
type task struct {
	image    string
	pid      uint32
	services []string // as printed; with /m they are modules
	line     int
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	if parts := console.Parts(in, text); parts != nil {
		return parts, nil
	}
	tasks := parse(text, false)
	if len(tasks) == 0 {
		return nil, fmt.Errorf("%s has no process as tasklist prints them", in.Name)
	}
	if !evidence.Ended(text) {
		if len(tasks) > 1 {
			tasks = tasks[:len(tasks)-1]
		}
		h.Gap(host.Gap{What: "processes", From: host.Source{Reader: readerName, Input: in.Name}, Why: "the file ends within a line, which was left out; lines behind it are missing"})
	}
	none := noServices(tasks)
	known := map[uint32]int{}
	for _, t := range tasks {
		if t.pid == 0 { // the idle process is none
			continue
		}
		services := t.services
		if len(services) == 1 && none[services[0]] || modules(services) {
			services = nil
		}
		from := host.Source{Reader: readerName, Input: in.Name, At: "line " + strconv.Itoa(t.line)}
		i, again := known[t.pid]
		switch {
		case again && strings.EqualFold(h.Processes[i].Image, t.image): // tasklist /v behind tasklist /svc
			if len(h.Processes[i].Services) == 0 {
				h.Processes[i].Services = services
			}
		case len(h.Processes) < maxTasks:
			known[t.pid] = len(h.Processes)
			h.Processes = append(h.Processes, host.Process{PID: t.pid, Image: t.image, Services: services, From: from})
		}
	}
	return nil, nil
}

// noServices finds what is printed for a process without services: what the idle process
// and the kernel have, which host none, and what cannot be the name of a service.
func noServices(tasks []task) map[string]bool {
	none := map[string]bool{"N/A": true, "Nicht zutreffend": true, "N.A.": true, "No disponible": true, "N/D": true}
	for _, t := range tasks {
		if (t.pid == 0 || t.pid == 4) && len(t.services) == 1 {
			none[t.services[0]] = true
		}
	}
	return none
}

// modules tells the output of /m, which has files where /svc has services.
func modules(services []string) bool {
	return slices.ContainsFunc(services, func(s string) bool { return strings.HasSuffix(strings.ToLower(s), ".dll") })
}

// parse finds the processes, in whatever form. With head, the first few are enough.
func parse(text string, head bool) []task {
	for _, form := range []func(string, int) []task{table, rows, list} {
		limit := maxTasks
		if head {
			limit = minTasks
		}
		if tasks := form(text, limit); len(tasks) > 0 {
			return tasks
		}
	}
	return nil
}

// minTasks is the number of programs without which CSV or a list is not taken for
// tasklist's.
const minTasks = 2

// table reads the table. The rule under the header tells where the columns are.
func table(text string, limit int) (tasks []task) {
	var columns []int // where each begins
	n := 0
	for rest := text; rest != "" && len(tasks) < limit; {
		var line string
		line, rest = evidence.NextLine(rest)
		n++
		if c := ruleColumns(line); c != nil {
			columns = c
			continue
		}
		if columns == nil {
			continue
		}
		if _, prompt := evidence.Prompt(line); prompt || line == "" {
			columns = nil
			continue
		}
		cells := cellsOf(line, columns)
		if pid, ok := number(cells[1]); ok && cells[0] != "" {
			t := task{image: name(cells[0]), pid: pid, line: n}
			if len(columns) == 3 {
				t.add(cells[2])
			}
			tasks = append(tasks, t)
		} else if len(columns) == 3 && cells[0] == "" && cells[1] == "" && len(tasks) > 0 {
			tasks[len(tasks)-1].add(cells[2])
		}
	}
	return tasks
}

// ruleColumns takes the rule apart: the name of the program under 25 signs, its number under
// 8, on Windows XP 6.
func ruleColumns(line string) (columns []int) {
	if !strings.HasPrefix(line, "=========================") || strings.Trim(line, "= ") != "" {
		return nil
	}
	runs := strings.Split(line, " ")
	if n := len(runs); n != 3 && n != 5 && n != 8 && n != 9 || len(runs[0]) != 25 || len(runs[1]) != 8 && len(runs[1]) != 6 {
		return nil
	}
	at := 0
	for _, r := range runs {
		columns = append(columns, at)
		at += len(r) + 1
	}
	return columns
}

// cellsOf cuts a line at the columns, which count characters.
func cellsOf(line string, columns []int) []string {
	cells := make([]string, len(columns))
	start, at, c := 0, 0, 0
	for c+1 < len(columns) && start < len(line) {
		end := start
		for at < columns[c+1] && end < len(line) {
			_, size := utf8.DecodeRuneInString(line[end:])
			end += size
			at++
		}
		cells[c] = strings.TrimSpace(line[start:end])
		start, c = end, c+1
	}
	cells[c] = strings.TrimSpace(line[start:])
	return cells
}

// number reads the number of a process.
func number(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}

// name makes the name of a program or service fit to be kept.
func name(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > maxName || strings.ContainsFunc(s, unicode.IsControl) || strings.ContainsAny(s, `<>|"`) {
		return "?"
	}
	return s
}

// add takes services, which commas separate.
func (t *task) add(cell string) {
	for s := range strings.SplitSeq(cell, ",") {
		if s = name(s); s != "" && s != "?" && len(t.services) < maxServices {
			t.services = append(t.services, s)
		}
	}
}

// rows reads CSV, with or without a header: a name, a number, and one, three, six or seven
// cells more.
func rows(text string, limit int) (tasks []task) {
	if !strings.Contains(text, `","`) {
		return nil
	}
	width, programs, n := 0, 0, 0
	for rest := text; rest != "" && len(tasks) < max(limit, 1); {
		var line string
		line, rest = evidence.NextLine(rest)
		n++
		if !strings.HasPrefix(line, `"`) {
			continue
		}
		cells, err := fields(line)
		if err != nil || len(cells) != 3 && len(cells) != 5 && len(cells) != 8 && len(cells) != 9 || width > 0 && len(cells) != width {
			continue
		}
		pid, ok := number(cells[1])
		if !ok || cells[0] == "" {
			continue
		}
		if isProgram(cells[0]) || pid == 0 || pid == 4 { // the idle process and the kernel are no files
			programs++
		}
		width = len(cells)
		t := task{image: name(cells[0]), pid: pid, line: n}
		if width == 3 {
			t.add(cells[2])
		}
		tasks = append(tasks, t)
	}
	if programs < minTasks {
		return nil
	}
	return tasks
}

func isProgram(image string) bool { return strings.HasSuffix(strings.ToLower(image), ".exe") }

func fields(line string) ([]string, error) {
	r := csv.NewReader(strings.NewReader(line))
	r.LazyQuotes, r.FieldsPerRecord = true, -1
	cells, err := r.Read()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return cells, err
}

// list reads the list: an entry is a line with a name, a line with a number, and with /svc a
// third with the services, of which each further one has a line of its own.
func list(text string, limit int) (tasks []task) {
	var entry []string // values
	first, n, programs := 0, 0, 0
	end := func() {
		if len(entry) >= 2 && entry[0] != "" {
			if pid, ok := number(entry[1]); ok && (len(entry) == 3 || len(entry) == 5 || len(entry) == 8 || len(entry) == 9) {
				t := task{image: name(entry[0]), pid: pid, line: first}
				if len(entry) == 3 {
					t.add(entry[2])
				}
				if isProgram(entry[0]) {
					programs++
				}
				tasks = append(tasks, t)
			}
		}
		entry = entry[:0]
	}
	for rest := text; rest != "" && len(tasks) < limit+3; {
		var line string
		line, rest = evidence.NextLine(rest)
		n++
		label, value, ok := strings.Cut(line, ":")
		switch {
		case line == "":
			end()
		case strings.HasPrefix(line, "  ") && len(entry) == 3 && !ok:
			entry[2] += "," + strings.TrimSpace(line)
		case ok && label != "" && !strings.HasPrefix(label, " ") && len(entry) < 10:
			if len(entry) == 0 {
				first = n
			}
			entry = append(entry, strings.TrimSpace(value))
		default:
			entry = entry[:0]
		}
	}
	end()
	if programs < minTasks {
		return nil
	}
	return tasks
}
