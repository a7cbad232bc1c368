// Package flowrecords reads lists of network conversations that others have made: exports of
// flows (NetFlow and IPFIX as nfdump prints them, SiLK, argus, Zeek, Suricata, the clouds' flow
// logs), logs of firewalls that stand between machines, tables of connection tracking, and any
// table of connections whose columns have the names that such columns have.
//
// It does not read the binary files of collectors and no packets. The log of the Windows
// Firewall has a reader of its own, firewalllog.
package flowrecords

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/traffic"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "flowrecords"

// Reader reads lists of conversations.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `Exports of flows and logs of firewalls, as text of any size: nfdump (-o csv, json, pipe, line6, long6, extended6 and the others), SiLK rwcut,
argus ra, Zeek conn.log, Suricata's flow events, flow logs of AWS and Azure, traffic logs of Palo Alto, Fortinet, pfSense and
OPNsense, iptables and conntrack, and any CSV or JSON with columns for source, destination, port and protocol.
Obtain it with: nfdump -R /var/cache/nfdump -o csv 'host 192.0.2.10' > flows.csv; or export the firewall's traffic log as CSV, filtered by the machine
It proves who talked to whom as far as it passed the exporter. What stays in one network segment passes no firewall, and a
sampled export shows a part. Who began is proven by firewalls' sessions and by TCP flags; otherwise it is taken
from the port numbers, and said so.`,
	Sniff: sniff,
	Read:  read,
}

func sniff(p evidence.Probe) bool {
	l, certain := recognise([]byte(p.Text))
	return l != nil && certain
}

// Bounds of what one file may say beside its conversations.
const (
	maxNames = 50_000
	// maxWords bounds the words of firewalls that are quoted as not understood.
	maxWords = 5
)

// Why a record was left out.
type reason uint8

const (
	fine reason = iota
	noAddress
	namedOnly
	shortened
	noProtocol
	noPort
	wrongCount
	notJSON
	tooLong
	numReasons
)

var reasons = [numReasons]string{
	noAddress:  "records without an address where the source or the destination should be",
	namedOnly:  "records with a name in place of an address; export addresses",
	shortened:  "records whose IPv6 addresses nfdump has shortened; print them with -o line6, or as csv",
	noProtocol: "records without a protocol, or with one that is no protocol over IP",
	noPort:     "records of TCP or UDP without the port of the destination, or with a name for it that is not known",
	wrongCount: "lines with more or fewer values than columns",
	notJSON:    "places where the JSON is damaged, and what stands there up to the next record that begins a line",
	tooLong:    "lines that are too long",
}

type reading struct {
	in    evidence.Input
	h     *host.Host
	watch host.Watch
	time  clockwork
	pairs pairs

	skipped [numReasons]uint64
	names   map[host.PeerName]bool
	words   []string // of firewalls, not understood

	sampled                                     uint64 // 1 in so many; 1 if it is not said in how many
	firewall, translated, cut                   bool
	unsure, stray, noType, noSource, unanswered uint64
	lostNames, lostWindows, timeless            uint64
	double                                      []string // columns that a table has twice
}

func read(ctx context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	r, err := in.Stream(ctx)
	if err != nil {
		return nil, err
	}
	b := bufio.NewReaderSize(r, evidence.MaxLine)
	head, err := b.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", in.Name, err)
	}
	l, _ := recognise(head)
	if l == nil {
		return nil, fmt.Errorf("%s has no columns for a source, a destination, a protocol and more, by which a list of conversations is known", in.Name)
	}
	x := reading{in: in, h: h, names: map[host.PeerName]bool{}, watch: host.Watch{Kind: "flow-records", From: host.Source{Reader: readerName, Input: in.Name}}}
	x.pairs.emit = x.emit
	x.time.ask = func() evidence.DateOrder { return orderOf(ctx, in) }
	if l.json {
		err = x.json(b)
	} else {
		err = x.lines(b, l)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", in.Name, err)
	}
	x.pairs.flush()
	x.finish()
	return nil, nil
}

// lines reads a text line by line. Where a line is none of the layout, it may be the header of
// another: people put several outputs into one file.
func (x *reading) lines(b *bufio.Reader, l *layout) error {
	lines := evidence.NewLineReader(b)
	var r row
	ended := false // behind the summary of nfdump's CSV
	begun := !l.headed
	for {
		line, ok := lines.Next()
		if !ok {
			break
		}
		if ended = ended || string(line) == "Summary"; len(line) == 0 || ended && header(line) == nil || trailer(line) {
			continue
		}
		ended = false
		r.clear(lines.N)
		why := fine
		switch l.split(line, &r) {
		case nothing:
			continue
		case mismatch:
			why = wrongCount
		case record:
			if why = x.record(&r); why == fine {
				begun = true
				continue
			}
		}
		if other := header(line); other != nil {
			l, begun = other, true
			x.double = append(x.double, l.double...)
			continue
		}
		if begun {
			x.skip(why)
		}
	}
	x.cut = lines.Cut
	x.watch.Records += lines.TooLong
	x.watch.Skipped += lines.TooLong
	x.skipped[tooLong] += lines.TooLong
	return lines.Err()
}

func (x *reading) skip(why reason) {
	x.watch.Records++
	x.watch.Skipped++
	x.skipped[why]++
}

// take counts a record and passes it on.
func (x *reading) take(f *flow) {
	x.watch.Records++
	if f.first.IsZero() {
		x.timeless++
	}
	if !f.first.IsZero() && (x.watch.First.IsZero() || f.first.Before(x.watch.First)) {
		x.watch.First = f.first
	}
	if f.last.After(x.watch.Last) {
		x.watch.Last = f.last
	}
	if f.kind == whole && f.session == 0 || !f.hasSource && traffic.HasPorts(f.proto) {
		x.pairs.alone(f)
		return
	}
	x.pairs.add(f)
}

// emit says to the host what was seen of a conversation.
func (x *reading) emit(s *pending) {
	if s.stray() {
		x.stray++
		return
	}
	client, sure := s.client()
	k := host.Talk{Client: s.a, Server: s.b, Proto: s.proto, Port: s.bp}
	if client == 1 {
		k.Client, k.Server, k.Port = s.b, s.a, s.ap
	}
	if s.proto == host.ICMP || s.proto == host.ICMPv6 {
		if s.icmp == unshown {
			x.noType++
		} else {
			k.Port = uint16(s.icmp) //nolint:gosec // 0 to 255
		}
	}
	seen := host.Sighting{
		From:  host.Source{Reader: readerName, Input: x.in.Name, At: "line " + strconv.Itoa(s.line)},
		Times: max(s.times, 1), Sure: sure, First: s.first(), Last: s.last(),
		Packets: s.sides[0].packets + s.sides[1].packets, Bytes: s.sides[0].bytes + s.sides[1].bytes,
	}
	switch {
	case s.refused:
		seen.Refused = seen.Times
	case x.sampled == 0 && s.failed(client):
		x.unanswered++
		seen.Refused = seen.Times
	}
	if !sure {
		x.unsure++
	}
	x.h.Traffic.Add(k, seen)
	other := k
	if s.nat.source.IsValid() {
		other.Client = s.nat.source
	}
	if s.nat.target.IsValid() {
		other.Server = s.nat.target
		if s.nat.port > 0 {
			other.Port = s.nat.port
		}
	}
	if other != k { // the firewall's two sides see two conversations; this is the server's
		x.translated = true
		x.h.Traffic.Add(other, seen)
	}
}

// name records a name that the file shows for an address.
func (x *reading) name(a netip.Addr, cell []byte, line int) {
	if len(cell) == 0 || !a.IsValid() || a.IsUnspecified() {
		return
	}
	name := hostName(cell)
	if name == "" {
		return
	}
	n := host.PeerName{Addr: a, Name: name, From: host.Source{Reader: readerName, Input: x.in.Name}}
	if x.names[n] {
		return
	}
	if len(x.names) >= maxNames {
		x.lostNames++
		return
	}
	x.names[n] = true
	n.From.At = "line " + strconv.Itoa(line)
	x.h.Names = append(x.h.Names, n)
}

// finish says what the file could not show.
func (x *reading) finish() {
	w := &x.watch
	if x.firewall {
		w.Kind = "firewall-log"
	}
	limit := func(is bool, format string, args ...any) {
		if is {
			w.Limits = append(w.Limits, fmt.Sprintf(format, args...))
		}
	}
	limit(w.Records == 0, "the file has columns and no record")
	switch {
	case x.sampled > 1:
		limit(true, "the exporter looked at one packet in %d: what it did not look at is not shown", x.sampled)
	case x.sampled == 1:
		limit(true, "the exporter looked at a sample of the packets: what it did not look at is not shown")
	}
	limit(x.pairs.oneWay > 0 && x.pairs.both == 0 && x.noSource == 0 && !x.firewall, "no conversation has a record for both directions: the answers are not in it")
	limit(x.unsure > 0, "who began is not shown and was taken from the port numbers or from who was seen first: conversations, %d", x.unsure)
	limit(x.noSource > 0, "records without the port of the source: an answer looks like a question in them: %d", x.noSource)
	limit(x.unanswered > 0, "TCP connections that were tried and not answered count as refused: %d", x.unanswered)
	limit(x.stray > 0, "packets that were refused and belong to no attempt to connect, such as late answers, are left out: %d", x.stray)
	limit(x.noType > 0, "records of ICMP without the type of the message: %d", x.noType)
	limit(x.translated, "addresses are translated on the way: such a conversation is listed as its client and as its server see it")
	limit(x.timeless > 0, "records without a time, or without the year of it: %d", x.timeless)
	limit(x.time.local > 0, "times have no zone: they are as the program that wrote them had its clock")
	limit(x.time.vague > 0, "times in which day and month cannot be told apart are not read: %d", x.time.vague)
	limit(x.time.noDay > 0, "times without a day are not read: %d", x.time.noDay)
	limit(x.time.bad > 0, "times that could not be understood: %d", x.time.bad)
	limit(len(x.words) > 0, "words for what was decided that are not understood, and do not count as refused: %s", strings.Join(x.words, ", "))
	limit(len(x.double) > 0, "columns that mean the same as another one and are not read: %s", strings.Join(x.double, ", "))
	for why, n := range x.skipped {
		limit(n > 0, "left out, %s: %d", reasons[why], n)
	}
	limit(x.lostWindows > 0, "windows of time for which the exporter kept no records: %d", x.lostWindows)
	limit(x.lostNames > 0, "names of machines beyond %d are left out: %d", maxNames, x.lostNames)
	limit(x.cut, "the file ends within a record, which was left out")
	if lost := x.h.Traffic.Lost; lost > 0 {
		limit(true, "it shows more than %d conversations; records about further ones were left out: %d", host.MaxTalks, lost)
		x.h.Gap(host.Gap{
			What: "traffic", From: w.From, Why: "the file shows the conversations of too many machines",
			Hint: "export those of this machine alone, as with: nfdump -R FOLDER -o csv 'host ADDRESS'",
		})
	}
	if w.Records > 0 && w.Records == w.Skipped {
		x.h.Gap(host.Gap{What: "traffic", From: w.From, Why: "no record could be read: " + strings.Join(w.Limits, "; ")})
	}
	x.h.Watches = append(x.h.Watches, *w)
}

// orderOf looks at the beginning of a file for how its dates are written.
func orderOf(ctx context.Context, in evidence.Input) evidence.DateOrder {
	r, err := in.Stream(ctx)
	if err != nil {
		return evidence.OrderUnknown
	}
	b := bufio.NewReaderSize(io.LimitReader(r, orderSize), evidence.MaxLine)
	head, _ := b.Peek(headSize) // an error is the end of a short file, or is met again by read
	l, _ := recognise(head)
	if l == nil || l.json {
		return evidence.OrderUnknown
	}
	order := evidence.OrderUnknown
	lines := evidence.NewLineReader(b)
	var rw row
	for {
		line, ok := lines.Next()
		if !ok {
			return order
		}
		rw.clear(0)
		if l.split(line, &rw) != record {
			continue
		}
		for _, c := range []role{roleStamp, roleStart, roleEnd, roleDay} {
			switch o := evidence.OrderOf(string(rw.cell[c])); {
			case o == evidence.OrderUnknown:
			case order == evidence.OrderUnknown:
				order = o
			case order != o:
				return evidence.OrderUnknown
			}
		}
	}
}

// headSize is how much of a file is looked at to recognise it, as Read does, and orderSize to
// find out how it writes dates.
const (
	headSize  = 32 << 10
	orderSize = 4 << 20
)

// spanOf gives the span of a record from what it has of start, end, duration and time.
func (x *reading) spanOf(r *row) (first, last time.Time) {
	first, last = x.time.at(r.cell[roleStart]), x.time.at(r.cell[roleEnd])
	if first.IsZero() && last.IsZero() {
		first = x.stampOf(r)
		return first, first
	}
	switch {
	case last.IsZero():
		last = first.Add(lasting(r.cell[roleDuration]))
	case first.IsZero():
		first = last
	case last.Before(first):
		last = first
	}
	return first, last
}

// stampOf joins a day and a time of day that stand apart.
func (x *reading) stampOf(r *row) time.Time {
	day, stamp := r.cell[roleDay], r.cell[roleStamp]
	if len(day) == 0 {
		return x.time.at(stamp)
	}
	of, zone, zoned := cutZone(stamp)
	if d, ok := traffic.Clock(of); ok {
		t := x.time.at(day)
		if t.IsZero() {
			return t
		}
		if zoned {
			x.time.local--
			x.time.zoned++
		}
		return t.Add(d - zone)
	}
	if t := x.time.at(stamp); !t.IsZero() {
		return t
	}
	return x.time.at(day)
}
