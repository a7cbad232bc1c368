package flowrecords

import (
	"bytes"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence/traffic"
)

// layout is how a file writes its records.
type layout struct {
	json bool // not line by line
	// headed tells that it comes of a line that names columns, in front of which there may be
	// others.
	headed bool
	// split finds the values of a line. They are parts of it, or of the layout.
	split func(line []byte, r *row) verdict
	// double are names of columns that stand twice.
	double []string
}

// verdict is what a line is.
type verdict uint8

const (
	record   verdict = iota
	nothing          // a comment, a total
	mismatch         // not of the layout
)

// Bounds of the search for a layout.
const (
	maxHeadLines = 60  // lines before the first record
	maxTried     = 20  // records that are tried behind a header
	maxColumns   = 512 // of a table
)

// recognise finds out how a file is written from its beginning; nil if it is no list of
// conversations. It is certain if a record was understood, or if there is none.
func recognise(head []byte) (l *layout, certain bool) {
	if first := bytes.TrimLeft(head, " \t\r\n"); len(first) > 0 && (first[0] == '{' || first[0] == '[') {
		if l := jsonIn(head); l != nil {
			return l, true
		}
	}
	rest, n := head, 0
	for len(rest) > 0 && n < maxHeadLines {
		line := next(&rest)
		if len(line) == 0 {
			continue
		}
		n++
		if l := header(line); l != nil {
			return l, l.tried(rest)
		}
		if l := bare(line); l != nil {
			return l, true
		}
	}
	return nil, false
}

// next cuts the next line off.
func next(rest *[]byte) (line []byte) {
	line, *rest, _ = bytes.Cut(*rest, []byte{'\n'})
	return bytes.TrimRight(line, " \t\r\v\f")
}

// tried reports whether one of the first records behind a header has two ends and says what was
// spoken; without any, whether the header is all there is.
func (l *layout) tried(rest []byte) bool {
	var r row
	n := 0
	for n < maxTried && bytes.IndexByte(rest, '\n') >= 0 { // what is not ended may be half of a record
		line := next(&rest)
		if len(line) == 0 || trailer(line) {
			continue
		}
		r.clear(0)
		switch l.split(line, &r) {
		case nothing:
			continue
		case record:
			var src, dst endpoint
			why := ends(&r, &src, &dst)
			if why == fine || why == shortened || string(r.cell[roleStatus]) == "NODATA" {
				return true
			}
		case mismatch:
		}
		n++
	}
	return n == 0
}

// trailers begin lines that nfdump prints around its records.
var trailers = []string{"Summary:", "Time window:", "Total flows processed:", "Sys:", "No matched flows", "Aggregated flows", "Top ", "conntrack v"}

// trailer reports whether a line is one of those, or a rule.
func trailer(line []byte) bool {
	for _, t := range trailers {
		if bytes.HasPrefix(line, []byte(t)) {
			return true
		}
	}
	return len(bytes.Trim(line, "-=+| ")) == 0
}

// header makes a layout of a line that names columns; nil if it does not.
func header(line []byte) *layout {
	if len(line) == 0 {
		return nil
	}
	if l := nfdumpHeader(line); l != nil {
		return l
	}
	if names, ok := bytes.CutPrefix(line, []byte("#fields")); ok { // Zeek
		return tableOf(bytes.TrimLeft(names, " \t"), '\t')
	}
	if names, ok := bytes.CutPrefix(line, []byte("#Fields:")); ok { // W3C's form
		if bytes.Contains(names, []byte("tcpwin")) { // the Windows Firewall's, which has its own reader
			return nil
		}
		names = bytes.TrimLeft(names, " \t")
		if bytes.IndexByte(names, '\t') > 0 {
			return tableOf(names, '\t')
		}
		return tableOf(names, ' ')
	}
	if line[0] == '#' {
		line = bytes.TrimLeft(line[1:], " ")
	}
	for _, sep := range []byte(",;\t| ") {
		if l := tableOf(line, sep); l != nil {
			return l
		}
	}
	return nil
}

// bare makes a layout for lines that say by themselves what they are.
func bare(line []byte) *layout {
	for _, f := range []func([]byte) *layout{nfdumpLine, nfdumpPipe, cloudLine, paloAlto, filterLog, keyValue} {
		if l := f(line); l != nil {
			return l
		}
	}
	return nil
}

// tableOf makes the layout of a table from its header; nil if the names are not those of a list of
// conversations.
func tableOf(names []byte, sep byte) *layout {
	if sep != ' ' && bytes.IndexByte(names, sep) < 0 {
		return nil
	}
	cells, ok := cut(nil, names, sep)
	if !ok || len(cells) < 3 {
		return nil
	}
	var r row
	at := make([]role, len(cells))
	owner := [numRoles]int{}
	seen := map[string]bool{}
	l := &layout{headed: true}
	for i, name := range cells {
		m, reduced := lookup(name)
		if m.role == roleNone {
			continue
		}
		if seen[reduced] {
			l.double = append(l.double, reduced)
			continue
		}
		seen[reduced] = true
		switch {
		case !r.is(m.role):
		case r.rank[m.role] <= m.rank:
			at[i] = asName(m.role)
			continue
		default:
			at[owner[m.role]] = asName(m.role)
		}
		r.set(m, nil)
		at[i], owner[m.role] = m.role, i
	}
	if !r.conversation() {
		return nil
	}
	for _, c := range at {
		r.has |= 1 << c // the names among them
	}
	l.split = table{sep: sep, at: at, has: r.has &^ 1, rank: r.rank}.split
	return l
}

// asName is the role of what is called source or destination beside a better name for the
// address: it may be the name of the machine.
func asName(c role) role {
	if c == roleSource {
		return roleSourceName
	}
	if c == roleTarget {
		return roleTargetName
	}
	return roleNone
}

// table is a table with a header.
type table struct {
	sep  byte
	at   []role // of each column
	has  uint64
	rank [numRoles]uint8
}

func (t table) split(line []byte, r *row) verdict {
	if len(line) == 0 {
		return nothing
	}
	if line[0] == '#' {
		if bytes.HasPrefix(line, []byte("#fields")) || bytes.HasPrefix(line, []byte("#Fields:")) {
			return mismatch
		}
		return nothing
	}
	r.has, r.rank = t.has, t.rank
	n := 0
	for begin := 0; begin <= len(line); {
		cell, length, ok := cellOf(line[begin:], t.sep)
		if !ok {
			return mismatch
		}
		begin += length
		if cell = value(cell); n < len(t.at) {
			if c := t.at[n]; c != roleNone && r.cell[c] == nil {
				r.cell[c] = cell
			}
		} else if cell != nil {
			return mismatch
		}
		n++
	}
	if n < len(t.at) {
		return mismatch
	}
	return record
}

// cellOf gives the first cell of a line and its length with the separator. It is not ok if a quote
// is not closed.
func cellOf(line []byte, sep byte) (cell []byte, length int, ok bool) {
	begin := 0
	if sep == ' ' {
		begin = len(line) - len(bytes.TrimLeft(line, " "))
	}
	if begin < len(line) && line[begin] == '"' {
		for at := begin + 1; ; at++ {
			i := bytes.IndexByte(line[at:], '"')
			if i < 0 {
				return nil, 0, false
			}
			at += i
			if at+1 < len(line) && line[at+1] == '"' { // a quote within, written twice
				at++
				continue
			}
			end := bytes.IndexByte(line[at:], sep)
			if end < 0 {
				return line[begin+1 : at], len(line) + 1, true
			}
			return line[begin+1 : at], at + end + 1, true
		}
	}
	end := bytes.IndexByte(line[begin:], sep)
	if end < 0 {
		return line[begin:], len(line) + 1, true
	}
	return line[begin : begin+end], begin + end + 1, true
}

// cut splits a line into its cells. It is not ok if a quote is not closed, or with more than
// maxColumns.
func cut(to [][]byte, line []byte, sep byte) ([][]byte, bool) {
	for begin := 0; begin <= len(line); {
		cell, length, ok := cellOf(line[begin:], sep)
		if !ok || len(to) == maxColumns {
			return nil, false
		}
		begin += length
		to = append(to, cell)
	}
	return to, true
}

// fixed makes the layout of a table that has no header.
func fixed(names string) *layout {
	sep := byte(',')
	if !strings.Contains(names, ",") {
		sep = ' '
	}
	l := tableOf([]byte(names), sep)
	l.headed = false
	return l
}

// cloudColumns are those of AWS's flow logs by default, version 2; see columns.
const cloudColumns = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"

// cloudLine knows a line of them, also with a time in front, as CloudWatch exports them.
func cloudLine(line []byte) *layout {
	cells := bytes.Fields(line)
	n := len(cells)
	if n != 14 && n != 15 || string(cells[n-14]) != "2" || !bytes.HasPrefix(cells[n-12], []byte("eni-")) {
		return nil
	}
	switch string(cells[n-1]) {
	case "OK", "NODATA", "SKIPDATA":
		return fixed(strings.Repeat("x ", n-14) + cloudColumns)
	}
	return nil
}

// paloColumns are the first ones of the traffic log as syslog carries it; see columns.
const paloColumns = "x,Receive Time,Serial Number,Type,Subtype,x,Generated Time,Source Address,Destination Address,NAT Source IP,NAT Destination IP," +
	"Rule Name,Source User,Destination User,Application,Virtual System,Source Zone,Destination Zone,Inbound Interface,Outbound Interface,Log Action,x," +
	"Session ID,Repeat Count,Source Port,Destination Port,NAT Source Port,NAT Destination Port,x,IP Protocol,Action,Bytes,Bytes Sent,Bytes Received,Packets," +
	"Start Time,Elapsed Time"

func paloAlto(line []byte) *layout {
	if !bytes.Contains(line, []byte(",TRAFFIC,")) {
		return nil
	}
	cells, ok := cut(nil, line, ',')
	if !ok || len(cells) < 40 || string(cells[3]) != "TRAFFIC" {
		return nil
	}
	return fixed(paloColumns + strings.Repeat(",x", len(cells)-1-strings.Count(paloColumns, ",")))
}

// filterLog knows lines of pfSense's and OPNsense's packet filter:
// https://docs.netgate.com/pfsense/en/latest/monitoring/raw-filter-log-format.html, read 2026-11-25.
func filterLog(line []byte) *layout {
	var r row
	if splitFilterLog(line, &r) != record {
		return nil
	}
	return &layout{split: splitFilterLog}
}

func splitFilterLog(line []byte, r *row) verdict {
	at := bytes.Index(line, []byte("filterlog"))
	if at < 0 {
		return nothing // of another program, in the same log
	}
	list := line[at:]
	front, _, ok := bytes.Cut(list, []byte{','})
	if !ok {
		return mismatch
	}
	list = list[bytes.LastIndexByte(front, ' ')+1:] // behind "filterlog[31]: ", or by RFC 5424 "filterlog 31 - - "
	var places [32][]byte
	cells, ok := cut(places[:0], list, ',')
	if !ok || len(cells) < 17 {
		return mismatch
	}
	ends, protoAt := 18, 16 // of IPv4
	if string(cells[8]) == "6" {
		ends, protoAt = 15, 12
	}
	if len(cells) < ends+2 {
		return mismatch
	}
	r.put(roleStamp, firstTime(line[:at]))
	r.put(roleAction, value(cells[6]))
	r.put(roleProto, value(cells[protoAt]))
	r.put(roleSource, value(cells[ends]))
	r.put(roleTarget, value(cells[ends+1]))
	detail := cells[ends+2:]
	p, _ := traffic.Proto(cells[protoAt])
	switch {
	case traffic.HasPorts(p) && len(detail) >= 2:
		r.put(roleSourcePort, value(detail[0]))
		r.put(roleTargetPort, value(detail[1]))
		if len(detail) >= 4 {
			r.put(roleFlags, value(detail[3]))
		}
	case len(detail) > 0:
		r.put(roleIcmpType, value(detail[0]))
	}
	return record
}

// firstTime finds the time in what stands in front of a syslog message: one with its year, or
// nothing.
func firstTime(front []byte) []byte {
	for word := range bytes.FieldsSeq(front) {
		if len(word) >= 19 {
			if _, ok := traffic.Day(word[:10]); ok {
				return word
			}
		}
	}
	return nil
}
