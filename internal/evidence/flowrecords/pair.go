package flowrecords

import (
	"net/netip"
	"time"

	"github.com/oldguard/oldguard/internal/evidence/traffic"
	"github.com/oldguard/oldguard/internal/host"
)

// kind is what a record is of.
type kind uint8

const (
	// oneSided is a record of one direction, as exporters of flows write them: the answers
	// have a record of their own.
	oneSided kind = iota
	// asked is a line of what may be a firewall's log, with what it decided: its source began,
	// unless the answers have lines too.
	asked
	// whole is a record of a conversation: its source began.
	whole
)

// flow is a record.
type flow struct {
	kind         kind
	src, dst     netip.Addr
	sport, dport uint16
	hasSource    bool // a source port is shown
	proto        host.IPProto
	icmp         int // the type; unshown if the record has none
	first, last  time.Time
	packets      uint64
	bytes        uint64
	flags        traffic.TCPFlags
	flagsKnown   bool
	times        int
	refused      bool
	answer       answer
	sure         bool // for whole ones: that the source began is seen
	biflow       bool // for one-sided ones: the answers are counted in it too
	session      uint64
	begins       bool // the first of its session
	more         bool // counts what came after the earlier records of its session
	nat          nat
	line         int
}

// nat is what addresses a firewall puts in place of a conversation's own: the server sees the
// source, and is the target.
type nat struct {
	source, target netip.Addr // not valid where it puts none
	port           uint16
}

const unshown = -1

// answer is whether a whole conversation shows an answer.
type answer uint8

const (
	untold answer = iota
	unanswered
	answered
)

const (
	// maxPending bounds the records that wait for their other direction, or for more of the
	// same connection. The one that has waited longest goes first.
	maxPending = 1 << 16
	// idle is how long the records of one connection may be apart. Exporters write one that
	// goes on every minute to every half an hour, and then without a gap; port numbers come
	// again after minutes at the earliest.
	idle = 5 * time.Minute
	// maxSYNs is how often a connection is tried, with a reserve: more packets without an
	// acknowledgement come from an exporter that keeps the first one's flags alone.
	maxSYNs = 10
)

// connection is by what the two directions find each other.
type connection struct {
	a, b       netip.Addr // the lower address first
	ap, bp     uint16
	proto      host.IPProto
	icmp       int16
	session    uint64
	hasSession bool
}

// side is what was seen of one direction.
type side struct {
	seen           bool
	first, last    time.Time
	packets, bytes uint64
	flags          traffic.TCPFlags
	flagsKnown     bool
}

// pending is a conversation that may not be complete.
type pending struct {
	connection
	kind    kind
	sides   [2]side // a to b, b to a
	opened  int     // the direction of the first record
	request int     // for ICMP: the direction of the question, or unshown
	refused bool
	answer  answer
	sure    bool
	times   int
	blind   bool // no source port is shown
	nat     nat
	line    int // of the first record
}

// pairs puts the two directions of conversations together.
type pairs struct {
	at     map[connection]int
	slots  []pending
	next   int // the slot that has waited longest, once all are taken
	emit   func(*pending)
	oneWay uint64 // conversations of which one direction was seen
	both   uint64
}

// add takes a record. What is complete is emitted, sooner or later.
func (p *pairs) add(f *flow) {
	k, dir, request := connectionOf(f)
	if i, ok := p.at[k]; ok {
		s := &p.slots[i]
		if s.goesOn(f, dir) {
			s.take(f, dir)
			return
		}
		p.out(s)
		*s = open(f, k, dir, request)
		return
	}
	if p.at == nil {
		p.at = map[connection]int{}
	}
	i := len(p.slots)
	if i < maxPending {
		p.slots = append(p.slots, pending{})
	} else {
		i = p.next
		p.next = (p.next + 1) % maxPending
		p.out(&p.slots[i])
		delete(p.at, p.slots[i].connection)
	}
	p.slots[i] = open(f, k, dir, request)
	p.at[k] = i
}

func open(f *flow, k connection, dir, request int) pending {
	s := pending{connection: k, kind: f.kind, opened: dir, request: request, blind: !f.hasSource && traffic.HasPorts(f.proto), nat: f.nat, line: f.line}
	s.take(f, dir)
	return s
}

// alone emits a record that waits for nothing.
func (p *pairs) alone(f *flow) {
	k, dir, request := connectionOf(f)
	s := open(f, k, dir, request)
	p.out(&s)
}

// flush emits all that waits.
func (p *pairs) flush() {
	for i := range p.slots {
		p.out(&p.slots[(p.next+i)%len(p.slots)])
	}
	p.slots, p.at, p.next = nil, nil, 0
}

func (p *pairs) out(s *pending) {
	if s.kind != whole {
		if s.sides[0].seen && s.sides[1].seen {
			p.both++
		} else {
			p.oneWay++
		}
	}
	p.emit(s)
}

// connectionOf gives what a record is of, its direction, and for ICMP that of the question.
func connectionOf(f *flow) (k connection, dir, request int) {
	k = connection{a: f.src, b: f.dst, ap: f.sport, bp: f.dport, proto: f.proto, session: f.session, hasSession: f.session != 0}
	request = unshown
	icmp := f.proto == host.ICMP || f.proto == host.ICMPv6
	if icmp {
		k.ap, k.bp = 0, 0
	}
	if c := f.src.Compare(f.dst); c > 0 || c == 0 && k.ap > k.bp {
		k.a, k.b, k.ap, k.bp = k.b, k.a, k.bp, k.ap
		dir = 1
	}
	if icmp {
		question, isAnswer := asking(f.proto, f.icmp)
		k.icmp = int16(question) //nolint:gosec // -1 to 255
		if question != unshown {
			request = dir
			if isAnswer {
				request = 1 - dir
			}
		}
	}
	return k, dir, request
}

// asking gives the type of the question that an ICMP message answers, or its own type: RFC 792,
// RFC 950 and RFC 4443.
func asking(p host.IPProto, icmp int) (question int, isAnswer bool) {
	if p == host.ICMPv6 {
		if icmp == 129 {
			return 128, true
		}
		return icmp, false
	}
	switch icmp {
	case 0:
		return 8, true
	case 14, 16, 18: // timestamp, information, address mask
		return icmp - 1, true
	}
	return icmp, false
}

// goesOn reports whether a record is about the same connection as those before.
func (s *pending) goesOn(f *flow, dir int) bool {
	if f.kind == whole {
		return !f.begins // it was found by its session
	}
	same := s.sides[dir]
	if f.first.IsZero() || s.first().IsZero() {
		return !same.seen // without a clock, a second one is another
	}
	if f.first.Sub(s.last()) > idle || s.first().Sub(f.last) > idle {
		return false
	}
	switch {
	case !same.seen:
		return true
	case f.kind == asked:
		return false // a line for each attempt
	case f.proto == host.TCP && f.flagsKnown && f.flags&same.flags&traffic.SYN != 0 && f.first.After(same.last):
		return false // the port is used again
	}
	return true
}

func (s *pending) first() time.Time {
	a, b := s.sides[0].first, s.sides[1].first
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (s *pending) last() time.Time {
	a, b := s.sides[0].last, s.sides[1].last
	if b.After(a) {
		return b
	}
	return a
}

func (s *pending) take(f *flow, dir int) {
	d := &s.sides[dir]
	if f.kind == whole && !f.more { // each record of a session counts from its beginning
		d.packets, d.bytes = max(d.packets, f.packets), max(d.bytes, f.bytes)
	} else {
		d.packets += f.packets
		d.bytes += f.bytes
	}
	if !d.seen || !f.first.IsZero() && f.first.Before(d.first) {
		d.first = f.first
	}
	if f.last.After(d.last) {
		d.last = f.last
	}
	d.flags |= f.flags
	d.flagsKnown = d.flagsKnown || f.flagsKnown
	d.seen = true
	if o := &s.sides[1-dir]; f.biflow && !o.seen {
		*o = side{seen: true, first: f.first, last: f.last}
	}
	s.refused = s.refused || f.refused
	s.answer = max(s.answer, f.answer)
	s.sure = s.sure || f.sure
	s.times = max(s.times, f.times)
}

// client tells which direction is that of the one who began, and whether it was seen.
func (s *pending) client() (dir int, sure bool) {
	a, b := &s.sides[0], &s.sides[1]
	switch {
	case s.request != unshown:
		return s.request, true
	case s.kind == whole && s.sure:
		return s.opened, true
	}
	single := a.seen != b.seen
	if s.blind {
		return s.opened, s.kind == asked
	}
	if s.proto == host.TCP && (a.flagsKnown || b.flagsKnown) {
		if dir, sure = byFlags(a, b); sure {
			return dir, sure
		}
	}
	if s.kind == whole && traffic.Server(s.ap, s.bp) == 0 {
		return s.opened, false
	}
	if s.kind == asked && single && !s.sides[s.opened].flagsKnown {
		return s.opened, true
	}
	switch traffic.Server(s.ap, s.bp) {
	case 1:
		return 1, false
	case 2:
		return 0, false
	}
	switch {
	case !single && a.first.Before(b.first):
		return 0, false
	case !single && b.first.Before(a.first):
		return 1, false
	}
	if x, y := s.ap >= traffic.Ephemeral, s.bp >= traffic.Ephemeral; x != y {
		if x {
			return 0, false
		}
		return 1, false
	}
	switch {
	case s.ap < s.bp && s.ap > 0:
		return 1, false
	case s.bp < s.ap && s.bp > 0:
		return 0, false
	}
	return s.opened, false
}

// byFlags tells who began a TCP connection: who sent a SYN and never an acknowledgement; or, where
// both sent a SYN, whose came first, for the other's is the answer.
func byFlags(a, b *side) (dir int, sure bool) {
	const both = traffic.SYN | traffic.ACK
	x, y := a.flags&both == traffic.SYN, b.flags&both == traffic.SYN
	switch {
	case x != y:
		if x {
			return 0, true
		}
		return 1, true
	case a.flags&b.flags&traffic.SYN == 0:
		// A SYN that a reset answers.
		if a.flags&traffic.SYN != 0 && b.flags&traffic.RST != 0 {
			return 0, true
		}
		return 1, b.flags&traffic.SYN != 0 && a.flags&traffic.RST != 0
	case a.first.Before(b.first):
		return 0, true
	case b.first.Before(a.first):
		return 1, true
	}
	return 0, false
}

// failed reports whether a TCP connection never came to be: nothing came back, or, by the flags,
// whoever began never acknowledged anything.
func (s *pending) failed(client int) bool {
	if s.kind != oneSided {
		return s.answer == unanswered
	}
	c, o := &s.sides[client], &s.sides[1-client]
	return s.proto == host.TCP && c.flagsKnown && c.packets > 0 && c.flags&(traffic.SYN|traffic.ACK) == traffic.SYN && o.flags&traffic.SYN == 0 && c.packets <= maxSYNs
}

// stray reports whether a packet that a firewall refused begins nothing.
func (s *pending) stray() bool {
	if !s.refused || s.kind == whole || s.sides[0].seen == s.sides[1].seen {
		return false
	}
	from, to := s.ap, s.bp
	if s.opened == 1 {
		from, to = to, from
	}
	d := s.sides[s.opened]
	return traffic.Stray(s.proto, d.flags, d.flagsKnown, from, to) || s.proto == host.TCP && !d.flagsKnown && traffic.Server(from, to) == 1
}
