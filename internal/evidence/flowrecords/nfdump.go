package flowrecords

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence/traffic"
)

// nfdumpNames are the columns behind the two ends, by what nfdump writes above them.
var nfdumpNames = []struct {
	name string
	role role
}{
	{"Flags", roleFlags},
	{"Tos", roleNone},
	{"Packets", rolePackets},
	{"Bytes", roleOctets},
	{"Out Pkt", rolePacketsReceived},
	{"In Pkt", rolePackets},
	{"Out Byte", roleOctetsReceived},
	{"In Byte", roleOctets},
	{"pps", roleNone},
	{"bps", roleNone},
	{"Bpp", roleNone},
	{"Flows", roleTimes},
	{"Input", roleNone},
	{"Output", roleNone},
	{"Src AS", roleNone},
	{"Dst AS", roleNone},
}

// nfdumpHeader knows the header above nfdump's records.
func nfdumpHeader(line []byte) *layout {
	if !bytes.HasPrefix(line, []byte("Date f")) && !bytes.HasPrefix(line, []byte("Event time")) || !bytes.Contains(line, []byte("Src IP Addr:Port")) {
		return nil
	}
	at := bytes.LastIndex(line, []byte("IP Addr:Port"))
	rest := string(line[at+len("IP Addr:Port"):])
	var columns []role
words:
	for rest = strings.TrimLeft(rest, " "); rest != ""; rest = strings.TrimLeft(rest, " ") {
		for _, n := range nfdumpNames {
			if after, ok := strings.CutPrefix(rest, n.name); ok {
				rest = after
				columns = append(columns, n.role)
				continue words
			}
		}
		columns = nil // one that is not known; the lines then tell
		break
	}
	return &layout{headed: true, split: nfdumpText{columns}.split}
}

// nfdumpLine knows a line without the header above it: nfdump -q.
func nfdumpLine(line []byte) *layout {
	var r row
	if len(line) < 19 || (nfdumpText{}).split(line, &r) != record {
		return nil
	}
	if _, ok := traffic.Day(line[:10]); !ok {
		return nil
	}
	return &layout{split: nfdumpText{}.split}
}

// nfdumpText is the form in which nfdump prints records for people: line, long, extended, biline
// and bilong, and those of NSEL.
type nfdumpText struct {
	columns []role // behind the ends; nil if the number of values must tell
}

// maxWordsOfLine bounds the words of a line; the longest form has some 30.
const maxWordsOfLine = 48

func (t nfdumpText) split(line []byte, r *row) verdict {
	var at [maxWordsOfLine][2]int
	n := words(line, &at)
	word := func(i int) []byte { return line[at[i][0]:at[i][1]] }
	arrow, second := -1, -1
	for i := range n {
		if w := word(i); string(w) == "->" || string(w) == "<->" {
			if arrow < 0 {
				arrow = i
			} else if second < 0 {
				second = i
			}
		}
	}
	if arrow < 4 || arrow+1 >= n {
		return mismatch
	}
	if _, ok := traffic.Clock(word(1)); !ok {
		return mismatch
	}
	r.put(roleStart, line[at[0][0]:at[1][1]])
	r.put(roleProto, word(arrow-2))
	r.putEnd(roleSource, roleSourcePort, word(arrow-1))
	r.putEnd(roleTarget, roleTargetPort, word(arrow+1))
	behind := arrow + 2
	if second > 0 {
		if second < arrow+3 || second+1 >= n || arrow < 5 {
			return mismatch
		}
		r.event(word(2))
		r.putEnd(roleNatSource, roleNone, word(second-1))
		r.putEnd(roleNatTarget, roleNatTargetPort, word(second+1))
		behind = second + 2
	} else {
		r.put(roleDuration, word(2))
		r.put(roleOneWay, nil)
	}
	var places [maxWordsOfLine][]byte
	values := joined(places[:0], line, at[behind:n])
	columns := t.columns
	if columns == nil {
		columns = columnsOf(values, string(word(arrow)) == "<->", second > 0)
	}
	if len(columns) != len(values) {
		return mismatch
	}
	for i, c := range columns {
		if c == roleOctets && second > 0 { // of both directions, as those of a session
			c = roleOctetsSent
		}
		if c != roleNone {
			r.put(c, values[i])
		}
	}
	return record
}

// event is what a firewall says with NSEL: CREATE, DELETE, DENIED. Records of other exporters
// have none, and neither a time in this form.
func (r *row) event(name []byte) {
	if string(name) == "INVALID" || string(name) == "Ignore" {
		r.put(roleOneWay, nil)
		r.put(roleStart, nil)
		return
	}
	r.put(roleAction, name)
	r.put(roleSession, []byte{1}) // one for each pair of ends
	r.begins = string(name) == "CREATE"
}

// words finds the words of a line, of which those behind the last place are left out, and gives
// their number.
func words(line []byte, at *[maxWordsOfLine][2]int) (n int) {
	begin := -1
	for i := 0; i <= len(line) && n < len(at); i++ {
		blank := i == len(line) || line[i] == ' ' || line[i] == '\t'
		switch {
		case blank && begin >= 0:
			at[n] = [2]int{begin, i}
			n, begin = n+1, -1
		case !blank && begin < 0:
			begin = i
		}
	}
	return n
}

// joined gives the values behind the ends; a number and its unit, 3.1 M, are one.
func joined(to [][]byte, line []byte, at [][2]int) [][]byte {
	for i := 0; i < len(at); i++ {
		begin, end := at[i][0], at[i][1]
		if i+1 < len(at) && at[i+1][1]-at[i+1][0] == 1 && strings.IndexByte("KMGT", line[at[i+1][0]]) >= 0 {
			i++
			end = at[i][1]
		}
		to = append(to, line[begin:end])
	}
	return to
}

// columnsOf tells by their number what the values behind the ends are, where no header does.
func columnsOf(values [][]byte, both, event bool) []role {
	if event {
		return []role{roleOctetsSent, roleOctetsReceived}
	}
	columns := []role{}
	if len(values) > 0 && len(bytes.Trim(values[0], ".UAPRSFCEWX")) == 0 || len(values) > 0 && bytes.HasPrefix(values[0], []byte("0x")) {
		columns = append(columns, roleFlags, roleNone)
	}
	switch len(values) - len(columns) {
	case 3:
		return append(columns, rolePackets, roleOctets, roleTimes)
	case 5:
		if both {
			return append(columns, rolePacketsReceived, rolePackets, roleOctetsReceived, roleOctets, roleTimes)
		}
	case 6:
		return append(columns, rolePackets, roleOctets, roleNone, roleNone, roleNone, roleTimes)
	}
	return nil
}

// putEnd takes an end apart: 192.0.2.1:445, 2001:db8::1.445, and for ICMP with type and code
// in place of the port, 192.0.2.1:8.0, 2001:db8::1.128.0.
func (r *row) putEnd(addr, port role, b []byte) {
	colon := bytes.IndexByte(b, ':')
	at := colon
	if bytes.Count(b, []byte{':'}) > 1 { // IPv6, perhaps with IPv4 in its end
		at = bytes.LastIndexByte(b, '.')
		if at > 0 {
			if _, ok := traffic.Addr(b[:at]); !ok {
				at = bytes.IndexByte(b, '.')
			}
		}
	}
	if at < 0 {
		r.put(addr, b)
		return
	}
	if bytes.HasPrefix(b[at:], []byte("..")) { // shortened
		r.put(addr, b)
		return
	}
	r.put(addr, b[:at])
	if port != roleNone {
		r.put(port, b[at+1:])
	}
}

// nfdumpPipe knows a line of nfdump -o pipe: numbers alone, the addresses in four of them each.
// nfdump 1.7 prints 22, before that 24 with seconds and milliseconds apart; nfdump(1).
func nfdumpPipe(line []byte) *layout {
	var r row
	if splitPipe(line, &r) != record {
		return nil
	}
	return &layout{split: splitPipe}
}

// families are the numbers that systems have for IPv4 and IPv6.
var families = map[string]bool{"2": false, "10": true, "24": true, "26": true, "28": true, "30": true}

func splitPipe(line []byte, r *row) verdict {
	var places [32][]byte
	cells, ok := cut(places[:0], line, '|')
	six, known := false, false
	if ok && len(cells) > 0 {
		six, known = families[string(cells[0])]
	}
	if !known || len(cells) != 22 && len(cells) != 24 {
		return mismatch
	}
	first, last, rest := cells[1], cells[2], cells[3:]
	if len(cells) == 24 {
		first, last, rest = cells[1], cells[3], cells[5:]
	}
	src, ok1 := wordsAddr(rest[1:5], six)
	dst, ok2 := wordsAddr(rest[6:10], six)
	if !ok1 || !ok2 {
		return mismatch
	}
	r.addr = [2]netip.Addr{src, dst}
	r.put(roleSource, nil)
	r.put(roleTarget, nil)
	for i, c := range []role{roleStart, roleEnd, roleProto, roleSourcePort, roleTargetPort, roleFlags, rolePackets, roleOctets} {
		r.put(c, [][]byte{first, last, rest[0], rest[5], rest[10], rest[15], rest[17], rest[18]}[i])
	}
	r.put(roleOneWay, nil)
	return record
}

// wordsAddr makes an address of four numbers of 32 bits, the highest first.
func wordsAddr(cells [][]byte, six bool) (a netip.Addr, ok bool) {
	var b [16]byte
	for i, c := range cells {
		n, ok := traffic.Number(c)
		if !ok || n > 1<<32-1 {
			return a, false
		}
		binary.BigEndian.PutUint32(b[4*i:], uint32(n))
	}
	if six {
		return netip.AddrFrom16(b), true
	}
	return netip.AddrFrom4([4]byte(b[12:])), true
}
