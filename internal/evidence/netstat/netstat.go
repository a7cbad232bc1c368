// Package netstat reads what netstat of Windows prints about connections and listening
// ports, once or again and again, in any display language, and the same from PowerShell's
// Get-NetTCPConnection.
//
// It goes by the shape of a line, never by a word: two addresses with ports behind TCP or UDP, then
// a state in whatever language, then the number of a process. A port of which the other
// end is 0.0.0.0:0 is one on which the machine listens.
package netstat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/evidence/inventory"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "netstat"

// Reader reads the output of netstat.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `What netstat prints about connections and listening ports, in any language, with and without -b, once, with an interval
(netstat -ano 60), or many times in one file with date /t and time /t between; also Get-NetTCPConnection | Export-Csv.
Obtain it with: netstat -ano > netstat.txt; better, for a day: netstat -ano 60 > netstat.txt
It proves who was connected to which port at those moments, and by the listening ports beside them who began. It shows
no connection that is over, and of UDP the open ports alone, never with whom.`,
	Sniff: sniff,
	Read:  read,
}

func sniff(p evidence.Probe) bool {
	for rest := p.Text; rest != ""; {
		var line string
		line, rest = evidence.NextLine(rest)
		if _, ok := readRow(line); ok || isPowerShell(line) {
			return true
		}
	}
	return false
}

// Bounds of what is kept. A table with more connections is no server's; its rest is counted.
const (
	maxConnections = 200_000 // in one sample, and pairs of all samples
	maxListeners   = 100_000
	maxProcesses   = 20_000
	maxOwn         = 1000
	maxStamps      = 100_000
	// maxOwners bounds the processes that are told apart for one conversation.
	maxOwners = 32
	maxNamed  = 5 // shown in a gap
	// maxFileName is what Windows allows for a path.
	maxFileName = 260
)

// dynamicFirst is the first port that Windows Vista and later give to whoever asks for none
// in particular; the last is 65535. Exchange 2007 and administrators change that:
// https://support.microsoft.com/kb/929851, read 2026-11-25.
const dynamicFirst = 49152

// entry is a connection of the sample that is being read.
type entry struct {
	row
	program string
	line    int
}

// pair is a connection, by which it is known again in the next sample.
type pair struct{ local, remote netip.AddrPort }

// owned is the last row that was kept, of which -b tells more in the lines below it.
type owned struct {
	program *string // nil for none
	pid     uint32
}

// use is what is known of a conversation by one process.
type use struct {
	talk    host.Talk
	pid     uint32
	program string
	sure    bool
}

type seen struct {
	times, line int
	first, last int // samples
}

// reading is the reading of one file.
type reading struct {
	in evidence.Input
	h  *host.Host

	sample    int // that is being read, from 0
	rows      int // of it
	header    string
	entries   []entry
	listening map[netip.AddrPort]bool // of this sample
	listened  map[uint16]bool         // of the last sample before that showed any
	before    map[pair]bool           // connections of the sample before
	stamps    []evidence.Stamp        // of each sample
	stamp     evidence.Stamp          // the last one read

	uses   map[use]*seen
	order  []use
	owners map[host.Talk]int

	listeners map[host.Listener]int // without From and Program, to its place in h.Listeners
	processes map[uint32]int        // to its place in h.Processes
	own       map[netip.Addr]bool

	lost, named     int
	bad             int      // rows that make no sense
	names, services []string // the first ones
	blind           int      // samples without a listening port
	unowned         bool     // there are rows without a process
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	if parts := console.Parts(in, text); parts != nil {
		return parts, nil
	}
	r := &reading{
		in: in, h: h, listening: map[netip.AddrPort]bool{}, listened: map[uint16]bool{}, before: map[pair]bool{}, uses: map[use]*seen{},
		owners: map[host.Talk]int{}, listeners: map[host.Listener]int{}, processes: map[uint32]int{}, own: map[netip.Addr]bool{},
	}
	n := r.table(text)
	if n == 0 {
		n = r.powerShell(text)
	}
	if n == 0 {
		return nil, fmt.Errorf("%s has no line of netstat, such as \"TCP 192.0.2.11:445 192.0.2.20:49180 ESTABLISHED 4\"", in.Name)
	}
	r.say()
	return nil, nil
}

func (r *reading) from(line int) host.Source {
	return host.Source{Reader: readerName, Input: r.in.Name, At: "line " + strconv.Itoa(line)}
}

// table reads netstat's own output, and gives the number of rows.
func (r *reading) table(text string) (rows int) {
	var above [2]string // the two lines before; a NUL for one that is no header
	component, components := "", 0
	var last owned
	ended := evidence.Ended(text)
	for n, rest := 1, text; rest != ""; n++ {
		var line string
		line, rest = evidence.NextLine(rest)
		found, ok := readRow(line)
		if ok && rest == "" && !ended {
			r.h.Gap(host.Gap{What: "connections", From: r.from(n), Why: "the file ends within a line, which was left out; lines behind it are missing"})
			break
		}
		switch {
		case ok:
			if r.begins(above) {
				r.next()
			}
			rows++
			last = r.add(found, n)
			r.rows++
			component, components = "", 0
			line = noHeader
		case line == "":
		case r.between(line):
			last, line = owned{}, noHeader
		case looksLikeRow(line):
			r.bad++
			last, line = owned{}, noHeader
		default:
			if program, is := bracketed(line); is && last.program != nil {
				r.owner(last, program, component, components, n)
				last = owned{}
			}
			component = strings.TrimSpace(line)
			components++
		}
		above[0], above[1] = above[1], line
	}
	if r.rows > 0 {
		r.next()
	}
	return rows
}

// begins tells whether a row is the first of a new table: a header stands above it, with an
// empty line before that, as netstat prints it each time. A filtered output has none.
func (r *reading) begins(above [2]string) bool {
	head := above[1]
	switch {
	case head == "" || head == noHeader:
		return false
	case r.rows == 0:
		r.header = head
		return false
	}
	return head == r.header || above[0] == "" && !strings.HasPrefix(strings.TrimSpace(head), "[")
}

const noHeader = "\x00"

// between tells whether a line stands between two outputs: a date, a time or a prompt.
func (r *reading) between(line string) bool {
	s, ok := evidence.ReadStamp(line)
	if _, prompt := evidence.Prompt(line); !ok && !prompt {
		return false
	}
	if r.rows > 0 {
		r.next()
	}
	r.stamp.Day, r.stamp.Weekday = cmp.Or(s.Day, r.stamp.Day), cmp.Or(s.Weekday, r.stamp.Weekday)
	r.stamp.Time = cmp.Or(s.Time, r.stamp.Time)
	return true
}

// bracketed knows the line of -b that names the program: " [svchost.exe]".
func bracketed(line string) (program string, ok bool) {
	s := strings.TrimSpace(line)
	if len(s) < 3 || s[0] != '[' || s[len(s)-1] != ']' {
		return "", false
	}
	return s[1 : len(s)-1], true
}

// add takes a row into the sample.
func (r *reading) add(row row, line int) owned {
	if row.pid == 0 && row.proto == host.TCP && row.listens() {
		r.unowned = true
	}
	for _, s := range []string{row.local.service, row.remote.service} {
		if s != "" && len(r.services) < maxNamed {
			r.services = append(r.services, s)
		}
	}
	r.address(row.local.addr, line)
	if row.listens() {
		if row.proto == host.TCP {
			r.listening[row.local.pair()] = true
		}
		if row.local.service == "" && row.local.port != 0 {
			return r.listener(row, line)
		}
		r.named++
		return owned{}
	}
	if row.state == bound || row.remote.port == 0 && row.remote.service == "" {
		return owned{}
	}
	if !row.local.addr.IsValid() || !row.remote.addr.IsValid() || row.local.service != "" || row.remote.service != "" {
		r.named++
		if n := row.remote.name; n != "" && len(r.names) < maxNamed {
			r.names = append(r.names, n)
		}
		return owned{}
	}
	if len(r.entries) >= maxConnections {
		r.lost++
		return owned{}
	}
	r.entries = append(r.entries, entry{row: row, line: line})
	return owned{&r.entries[len(r.entries)-1].program, row.pid}
}

// address records an address of the machine's own.
func (r *reading) address(a netip.Addr, line int) {
	if !a.IsValid() || a.IsUnspecified() || a.IsLoopback() || a.IsLinkLocalUnicast() || r.own[a] || len(r.own) >= maxOwn {
		return
	}
	r.own[a] = true
	r.h.Addresses = append(r.h.Addresses, host.Address{Addr: a, Bits: -1, From: r.from(line)})
}

// listener records a port on which the machine waits, once.
func (r *reading) listener(row row, line int) owned {
	l := host.Listener{Proto: row.proto, Addr: row.local.addr, Port: row.local.port, PID: row.pid}
	if !l.Addr.IsValid() { // without -n, its own name stands for 0.0.0.0
		l.Addr = netip.IPv4Unspecified()
	}
	i, ok := r.listeners[l]
	if !ok {
		if len(r.listeners) >= maxListeners {
			r.lost++
			return owned{}
		}
		i = len(r.h.Listeners)
		r.listeners[l] = i
		l.From = r.from(line)
		r.h.Listeners = append(r.h.Listeners, l)
	}
	return owned{&r.h.Listeners[i].Program, row.pid}
}

// owner takes what -b says of the row above: the program in brackets at the bottom, and above
// it the component of a program that hosts several, which for svchost.exe is the service
// (inferred from what Windows Vista and later print).
func (r *reading) owner(of owned, program, component string, components, line int) {
	if len(program) > maxFileName || strings.ContainsAny(program, `<>|"`) || strings.ContainsFunc(program, unicode.IsControl) {
		return
	}
	*of.program = program
	if of.pid == 0 {
		return
	}
	i, ok := r.processes[of.pid]
	if !ok {
		if len(r.processes) >= maxProcesses {
			return
		}
		i = len(r.h.Processes)
		r.processes[of.pid] = i
		r.h.Processes = append(r.h.Processes, host.Process{PID: of.pid, Image: program, From: r.from(line)})
	}
	// Windows XP prints the files in between, and a sentence where it may not tell.
	if components == 1 && isService(component) {
		if p := &r.h.Processes[i]; len(p.Services) < maxOwners && !slices.Contains(p.Services, component) {
			p.Services = append(p.Services, component)
		}
	}
}

func isService(s string) bool {
	return isHostName(strings.ReplaceAll(s, "$", "")) && !strings.Contains(s, ".") && s != ""
}

// next ends a sample: now it is known on which ports the machine listened, and so who
// began each connection.
func (r *reading) next() {
	blind := len(r.listening) == 0
	if blind {
		r.blind++
	}
	now := make(map[pair]bool, len(r.entries))
	for _, e := range r.entries {
		p := pair{e.local.pair(), e.remote.pair()}
		if e.remote.addr.IsLoopback() || e.local.addr == e.remote.addr {
			continue // the machine with itself
		}
		r.note(e, r.before[p], blind)
		now[p] = true
	}
	if !blind {
		r.listened = make(map[uint16]bool, len(r.listening))
		for l := range r.listening {
			r.listened[l.Port()] = true
		}
	}
	r.before = now
	if len(r.stamps) < maxStamps {
		r.stamps = append(r.stamps, r.stamp)
	}
	r.sample++
	r.rows, r.entries, r.listening = 0, r.entries[:0], map[netip.AddrPort]bool{}
	r.stamp.Time = "" // the day goes on, the hour does not
}

// note counts a connection, once as long as the samples show it.
func (r *reading) note(e entry, again, blind bool) {
	inbound, sure := r.began(e, blind)
	u := use{talk: host.Talk{Proto: e.proto}, pid: e.pid, program: e.program, sure: sure}
	u.talk.Client, u.talk.Server, u.talk.Port = e.local.addr, e.remote.addr, e.remote.port
	if inbound {
		u.talk.Client, u.talk.Server, u.talk.Port = e.remote.addr, e.local.addr, e.local.port
	}
	s := r.uses[u]
	if s == nil && r.owners[u.talk] >= maxOwners {
		u.pid, u.program, u.sure = 0, "", false
		s = r.uses[u]
	}
	if s == nil {
		if len(r.order) >= maxConnections {
			r.lost++
			return
		}
		s = &seen{line: e.line, first: r.sample}
		r.uses[u] = s
		r.order = append(r.order, u)
		r.owners[u.talk]++
	}
	s.last = r.sample
	if !again || s.times == 0 {
		s.times++
	}
}

// began tells whether a connection was begun by the other side, and whether that is sure.
func (r *reading) began(e entry, blind bool) (inbound, sure bool) {
	local, remote := e.local, e.remote
	any4, any6 := netip.AddrPortFrom(netip.IPv4Unspecified(), local.port), netip.AddrPortFrom(netip.IPv6Unspecified(), local.port)
	switch {
	case r.listening[local.pair()] || r.listening[any4] || r.listening[any6]:
		return true, true
	case !blind:
		// Who waits for an answer to its first packet began, in every language's word for SYN_SENT.
		return false, local.port >= dynamicFirst || strings.HasPrefix(e.state, "SYN")
	case r.listened[local.port]:
		return true, false
	case local.port >= dynamicFirst != (remote.port >= dynamicFirst):
		return remote.port >= dynamicFirst, false
	}
	return local.port < remote.port, false
}

// say hands over what is known at the end.
func (r *reading) say() {
	// Where the first sample has no time and there is one behind the last, the times were
	// printed behind each.
	if len(r.stamps) > 0 && r.stamps[0].Time == "" && r.stamp.Time != "" {
		r.stamps = append(r.stamps[1:], r.stamp)
	}
	days := make([]string, len(r.stamps))
	for i, s := range r.stamps {
		days[i] = s.Day
	}
	order := evidence.OrderOf(days...)
	clock := make([]time.Time, len(r.stamps))
	w := host.Watch{From: host.Source{Reader: readerName, Input: r.in.Name}, Kind: "netstat", Records: uint64(r.sample)} //nolint:gosec // it counts up
	for i, s := range r.stamps {
		t, ok := s.At(order)
		if !ok || t.Before(w.Last) { // a date that was given once does not hold for ever
			continue
		}
		clock[i] = t
		if w.First.IsZero() {
			w.First = t
		}
		w.Last = t
	}
	stamped := !w.First.IsZero()
	if taken := collected(r.in); !stamped && !taken.IsZero() {
		w.First, w.Last = taken, taken
		for i := range clock {
			clock[i] = taken
		}
	}
	at := func(sample int) time.Time {
		if sample < len(clock) {
			return clock[sample]
		}
		return time.Time{}
	}
	for _, u := range r.order {
		s := r.uses[u]
		r.h.Traffic.Add(u.talk, host.Sighting{
			From: r.from(s.line), Times: s.times, First: at(s.first), Last: at(s.last), Sure: u.sure, PID: u.pid, Program: u.program,
		})
	}
	w.Skipped = uint64(r.lost + r.named + r.bad) //nolint:gosec // they count up
	w.Limits = r.limits(stamped)
	r.h.Watches = append(r.h.Watches, w)
	r.gaps()
}

// collected gives the time that the collector noted in the file beside, for what it
// collected.
func collected(in evidence.Input) time.Time {
	if in.Beside == nil {
		return time.Time{}
	}
	status := in.Beside("status.txt")
	if status == nil {
		return time.Time{}
	}
	head := make([]byte, min(status.Size(), maxStatus))
	n, err := status.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return time.Time{}
	}
	text := string(head[:n])
	_, taken, ok := strings.Cut(text, "\ntaken ")
	if !ok || !strings.HasPrefix(text, "oldguard-collect ") {
		return time.Time{}
	}
	taken, _ = evidence.NextLine(taken)
	return inventory.ReadTime(taken).Instant
}

const maxStatus = 4 << 10 // of the collector's notes, which begin with the time

func (r *reading) limits(clock bool) (limits []string) {
	limits = append(limits, "of UDP it shows the open ports, not with whom the machine spoke")
	if r.sample == 1 {
		limits = append(limits, "it shows one moment: who was not connected then is not in it")
	} else {
		limits = append(limits, fmt.Sprintf("connections that began and ended between two of its %d samples are not in it", r.sample))
	}
	if r.blind > 0 {
		limits = append(limits, fmt.Sprintf("%s no listening ports (netstat without -a, or filtered): who began is taken from the port numbers",
			evidence.Count(r.blind, "sample shows", "samples show")))
	}
	if r.unowned {
		limits = append(limits, "it does not name the processes, as netstat -ano does")
	}
	if clock {
		limits = append(limits, "its times are those of the machine's own clock and time zone")
	}
	return limits
}

func (r *reading) gaps() {
	from := host.Source{Reader: readerName, Input: r.in.Name}
	if r.named > 0 {
		why := evidence.Count(r.named, "line shows", "lines show") + " a name and no address or port"
		if len(r.names) > 0 {
			why += ", such as " + strings.Join(r.names, ", ")
		}
		if len(r.services) > 0 {
			why += "; of services not known here: " + strings.Join(r.services, ", ")
		}
		r.h.Gap(host.Gap{What: "connections", From: from, Why: why, Hint: "run: netstat -ano"})
	}
	if r.bad > 0 {
		r.h.Gap(host.Gap{
			What: "connections", From: from, Why: evidence.Count(r.bad, "line was", "lines were") + " not understood: damaged, or shortened to fit a window",
			Hint: "run: netstat -ano > netstat.txt",
		})
	}
	if r.lost > 0 {
		r.h.Gap(host.Gap{What: "connections", From: from, Why: fmt.Sprintf("%d connections were left out, because there are more than are kept", r.lost)})
	}
}
