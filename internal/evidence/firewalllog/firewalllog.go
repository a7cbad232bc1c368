// Package firewalllog reads pfirewall.log, the log of the Windows Firewall, from XP and Server
// 2003 on. It is written in English everywhere.
package firewalllog

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/traffic"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "firewalllog"

// Reader reads pfirewall.log.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `pfirewall.log, the log of the Windows Firewall, and pfirewall.log.old, whole or lines of it, of any size.
Obtain it with: copy %windir%\System32\LogFiles\Firewall\pfirewall.log* . (on XP and Server 2003: copy %windir%\pfirewall.log* .)
Logging is off by default; switch it on with: netsh advfirewall set allprofiles logging allowedconnections enable, and
droppedconnections enable, and maxfilesize 32767
It proves who began which connection with the machine and what was dropped, for as long as it was switched on and not
overwritten. It does not show how much was said, nor connections that were open before its first line.`,
	Sniff: sniff,
	Read:  read,
}

// The names of the columns, https://learn.microsoft.com/previous-versions/windows/it-pro/windows-server-2008-R2-and-2008/ff428145(v=ws.10),
// read 2026-11-25. Windows 10 and later add pid; the Internet Connection Firewall of XP before
// Service Pack 2 has no path.
const usual = "date time action protocol src-ip dst-ip src-port dst-port size tcpflags tcpsyn tcpack tcpwin icmptype icmpcode info path pid"

// columns are the places of the columns that are read, -1 for those that a log lacks.
type columns struct {
	date, time, action, proto, src, dst, sport, dport, flags, icmp, info, path, pid int
}

func columnsOf(names []string) (c columns, ok bool) {
	at := func(name string) int { return slices.Index(names, name) }
	c = columns{
		at("date"), at("time"), at("action"), at("protocol"), at("src-ip"), at("dst-ip"), at("src-port"), at("dst-port"),
		at("tcpflags"), at("icmptype"), at("info"), at("path"), at("pid"),
	}
	return c, c.date >= 0 && c.time >= 0 && c.action >= 0 && c.proto >= 0 && c.src >= 0 && c.dst >= 0
}

// action is what a line reports.
type action uint8

const (
	unknown action = iota
	begun          // a connection was let through
	dropped        // a packet was not
	ended          // a connection of XP and Server 2003 was closed
	lost           // events that the firewall could not write down
)

// actions, by the same page; all but ALLOW are XP's and Server 2003's:
// http://www.networkuptime.com/winfw/page04-08.html, read 2026-11-25.
var actions = map[string]action{
	"ALLOW": begun, "OPEN": begun, "OPEN-INBOUND": begun, "DROP": dropped, "CLOSE": ended, "INFO-EVENTS-LOST": lost,
}

// headerLines is how many lines of a probe are looked at.
const headerLines = 50

func sniff(p evidence.Probe) bool {
	c, _ := columnsOf(strings.Fields(usual))
	n := 0
	for line := range strings.Lines(p.Text) {
		line = strings.TrimSpace(line)
		if names, ok := strings.CutPrefix(line, "#Fields:"); ok {
			_, ok = columnsOf(strings.Fields(names))
			return ok
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if n++; n > headerLines {
			return false
		}
		if e, ok := c.entry(bytes.Fields(plain([]byte(line)))); ok && (e.action == lost || e.src.IsValid()) {
			return true
		}
	}
	return false
}

// plain takes off the name of the file that findstr puts in front of a line where it searches
// several.
func plain(line []byte) []byte {
	if len(line) == 0 || line[0] >= '0' && line[0] <= '9' && len(line) > 4 && line[4] == '-' {
		return line
	}
	for _, mark := range []string{".log:", ".old:"} {
		if _, rest, ok := bytes.Cut(line[:min(len(line), 300)], []byte(mark)); ok {
			return line[len(line[:min(len(line), 300)])-len(rest):]
		}
	}
	return line
}

// Bounds of what one log may say.
const (
	// maxPIDs bounds the processes that are told apart; the others are process 0.
	maxPIDs = 500
	// maxOwn bounds the machine's own addresses.
	maxOwn = 1000
)

type reading struct {
	in      evidence.Input
	h       *host.Host
	columns columns
	headers int
	watch   host.Watch
	pids    map[uint32]bool
	own     map[netip.Addr]bool

	local, utc            bool // what clocks the log says it has
	allows, drops, closed int
	stray, events         uint64
}

func read(ctx context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	r, err := in.Stream(ctx)
	if err != nil {
		return nil, err
	}
	x := reading{in: in, h: h, pids: map[uint32]bool{}, own: map[netip.Addr]bool{}, watch: host.Watch{Kind: "firewall-log"}}
	x.columns, _ = columnsOf(strings.Fields(usual))
	lines := evidence.NewLineReader(r)
	var fields [][]byte
	clockKnown := false
	for {
		line, ok := lines.Next()
		if !ok {
			break
		}
		line = plain(line)
		switch {
		case len(line) == 0:
		case line[0] == '#':
			clockKnown = x.header(string(line)) || clockKnown
		default:
			fields = split(fields[:0], line)
			if !clockKnown {
				x.local = true
			}
			x.line(fields, lines.N)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", in.Name, err)
	}
	x.watch.Records += lines.TooLong
	x.watch.Skipped += lines.TooLong
	if x.headers == 0 && x.watch.Records == x.watch.Skipped {
		return nil, fmt.Errorf("%s has no line as the Windows Firewall writes them", in.Name)
	}
	x.finish(lines.Cut)
	return nil, nil
}

// header reads a line that begins with #, and reports whether it tells the clock. A line that
// an older header does not fit comes with a new one.
func (x *reading) header(line string) (clock bool) {
	name, value, _ := strings.Cut(line[1:], ":")
	value = strings.TrimSpace(value)
	switch name {
	case "Fields":
		if c, ok := columnsOf(strings.Fields(value)); ok {
			x.columns = c
			x.headers++
		}
	case "Time Format":
		// Local, or GMT on some; UTC is not documented.
		if strings.EqualFold(value, "GMT") || strings.EqualFold(value, "UTC") {
			x.utc = true
		} else {
			x.local = true
		}
		return true
	}
	return false
}

// split splits a line at blanks, as bytes.Fields does, but reuses the slice.
func split(to [][]byte, line []byte) [][]byte {
	begin := 0
	for i, c := range line {
		if c != ' ' && c != '\t' {
			continue
		}
		if begin < i {
			to = append(to, line[begin:i])
		}
		begin = i + 1
	}
	if begin < len(line) {
		to = append(to, line[begin:])
	}
	return to
}

// entry is a line.
type entry struct {
	on           time.Time
	action       action
	inbound, out bool // by OPEN-INBOUND, OPEN or the path
	proto        host.IPProto
	src, dst     hostPort
	flags        traffic.TCPFlags
	flagsKnown   bool
	icmp         uint16
	lost         uint64
	pid          uint32
}

// line reads one line that is no header.
func (x *reading) line(fields [][]byte, n int) {
	e, ok := x.columns.entry(fields)
	x.watch.Records++
	if !ok {
		x.watch.Skipped++
		return
	}
	if x.watch.First.IsZero() || e.on.Before(x.watch.First) {
		x.watch.First = e.on
	}
	if e.on.After(x.watch.Last) {
		x.watch.Last = e.on
	}
	switch e.action {
	case begun:
		x.allows++
	case dropped:
		x.drops++
	case ended:
		x.closed++
	case lost:
		x.events += e.lost
		return
	case unknown:
		return
	}
	x.owns(e, n)
	if e.action == ended {
		return // its beginning is the line that counts
	}
	s := host.Sighting{
		From:  host.Source{Reader: readerName, Input: x.in.Name, At: "line " + strconv.Itoa(n)},
		Times: 1, First: e.on, Last: e.on, Sure: true, PID: x.pid(e.pid),
	}
	if e.action == dropped {
		if traffic.Stray(e.proto, e.flags, e.flagsKnown, e.src.port, e.dst.port) {
			x.stray++
			return
		}
		s.Refused = 1
	}
	k := host.Talk{Client: e.src.addr, Server: e.dst.addr, Proto: e.proto, Port: e.dst.port}
	if e.proto == host.ICMP || e.proto == host.ICMPv6 {
		k.Port = e.icmp
	}
	x.h.Traffic.Add(k, s)
}

func (x *reading) pid(pid uint32) uint32 {
	if pid == 0 || x.pids[pid] {
		return pid
	}
	if len(x.pids) >= maxPIDs {
		return 0
	}
	x.pids[pid] = true
	return pid
}

// owns records the address at the machine's end. Only TCP shows that of what comes in: other
// packets also go to all.
func (x *reading) owns(e entry, n int) {
	a := e.dst.addr
	switch {
	case e.out:
		a = e.src.addr
	case !e.inbound || e.proto != host.TCP:
		return
	}
	if a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || len(x.own) >= maxOwn {
		return
	}
	if x.own[a] {
		return
	}
	x.own[a] = true
	x.h.Addresses = append(x.h.Addresses, host.Address{
		Addr: a, Bits: -1, From: host.Source{Reader: readerName, Input: x.in.Name, At: "line " + strconv.Itoa(n)},
	})
}

// finish says what the log could not see.
func (x *reading) finish(cut bool) {
	w := &x.watch
	w.From = host.Source{Reader: readerName, Input: x.in.Name}
	limit := func(is bool, format string, args ...any) {
		if is {
			w.Limits = append(w.Limits, fmt.Sprintf(format, args...))
		}
	}
	limit(w.Records == 0, "the log has a header and no line")
	limit(w.Records > 0 && x.allows == 0, "it shows no connection that was let through: those are logged only where allowedconnections is switched on")
	limit(w.Records > 0 && x.drops == 0, "it shows nothing that was dropped: that is logged only where droppedconnections is switched on")
	limit(w.Records > 0, "a connection that was open before the first line is not in it")
	limit(x.events > 0, "the firewall lost %d of the events that it should have logged", x.events)
	limit(x.stray > 0, "packets that were dropped and belong to no attempt to connect, such as late answers, are left out: %d", x.stray)
	limit(x.local && x.utc, "some of the times are the machine's own, without a zone, and some are UTC")
	limit(w.Records > 0 && x.local && !x.utc, "times are those of the machine's own clock, without a zone")
	limit(w.Skipped > 0, "lines that could not be understood: %d", w.Skipped)
	limit(cut, "the file ends within a line, which was left out")
	limit(x.h.Traffic.Lost > 0, "it shows more than %d conversations; lines about further ones were left out: %d", host.MaxTalks, x.h.Traffic.Lost)
	x.h.Watches = append(x.h.Watches, *w)
}
