package capture

import (
	"time"

	"github.com/oldguard/oldguard/internal/format/packet"
	"github.com/oldguard/oldguard/internal/host"
)

// Bounds of what is kept, whatever the capture holds: some 130 MiB in all at the worst.
const (
	// maxHalf is half of the connections that are followed at a time. When so many are new,
	// those that were quiet since the last time are added up.
	maxHalf = 1 << 16
	// maxTalks is how many are kept that were answered, or are of a kind that needs no answer;
	// maxDeaf is how many are kept beside them: a scan must not crowd out what works.
	maxTalks = host.MaxTalks - maxDeaf
	maxDeaf  = host.MaxTalks / 4
	// maxServers bounds the ports that were seen to accept connections.
	maxServers = 1 << 16
	// fragments is how many first fragments are remembered at a time.
	fragments = 1 << 10
)

const (
	// idle is the pause that ends a conversation without connections.
	idle = int64(time.Minute)
	// synWait is how long an answer to a SYN is waited for: Windows repeats one after 3 seconds.
	synWait = int64(3 * time.Second)
)

// tuple is what the packets of a connection have in common, in both directions: of TCP, UDP and
// protocols without ports a is the lesser side, of ICMP who asks.
type tuple struct {
	a, b         packet.Addr
	aPort, bPort uint16 // of ICMP both are the type
	proto        uint8
}

// conn is a connection or a conversation that is followed.
type conn struct {
	tuple
	state          state
	seq            uint32 // of its SYN
	number         uint64 // of its first packet in the file
	packets, bytes uint64
	first, last    int64
}

type state uint16

const (
	fromA    state = 1 << iota // a sent something
	fromB                      // b did
	bFirst                     // b sent the first packet
	begun                      // it was seen who began it
	byB                        // and it was b
	accepted                   // of TCP: more than a SYN came of it
	refused                    // somebody said no
	group                      // to many, so nobody answers
	moved                      // its place in the table is another now
	finA                       // of TCP: a has no more to send
	finB                       // nor has b
	closed                     // of TCP: it is over
	placed                     // it has its place among the talks
)

// talk is what is added up of connections.
type talk struct {
	talkKey
	answered       bool
	number         uint64
	times, refused uint64
	packets, bytes uint64
	first, last    int64
}

type talkKey struct {
	client, server packet.Addr
	port           uint16
	proto          uint8
	sure           bool
}

type serverKey struct {
	addr  packet.Addr
	port  uint16
	proto uint8
}

// half is a part of the connections that are followed.
type half struct {
	index map[tuple]int32
	conns []conn
}

// table follows connections and adds them up. The zero value is empty.
type table struct {
	young, old half
	index      map[talkKey]int32
	talks      talks
	deaf       int // of talks
	servers    map[serverKey]struct{}
	parts      *[fragments]part

	start, now int64 // of the packets with a time

	// lost are connections that were left out, early those that were added up for want of room, running
	// those whose beginning was not seen; oneWay and bothWays are TCP connections that
	// worked.
	lost, early, running, oneWay, bothWays uint64
}

// talks is a list in blocks: it grows without a copy, and can be given back block by block.
type talks struct {
	blocks [][]talk
	n      int
}

const talksBlock = 1 << 10

func (l *talks) at(i int32) *talk { return &l.blocks[i/talksBlock][i%talksBlock] }

func (l *talks) add(t talk) int32 {
	i := int32(l.n) // #nosec G115 -- bounded by host.MaxTalks
	if l.n%talksBlock == 0 {
		l.blocks = append(l.blocks, nil)
	}
	last := &l.blocks[len(l.blocks)-1]
	*last = append(*last, t)
	l.n++
	return i
}

// part remembers whose the later fragments of a packet are.
type part struct {
	src, dst packet.Addr
	id       uint32
	proto    uint8
	set      bool
	whose    tuple
	fromB    bool
}

// keyOf gives the tuple of a packet, and whether it is from b.
func keyOf(p *packet.Packet) (k tuple, b bool) {
	k = tuple{p.Src, p.Dst, p.SrcPort, p.DstPort, p.Proto}
	if p.Proto == packet.ICMP || p.Proto == packet.ICMPv6 {
		t, answer := question(p.Proto, p.Type)
		k.aPort, k.bPort = t, t
		if answer {
			k.a, k.b = k.b, k.a
		}
		return k, answer
	}
	if less(&k.b, &k.a) || k.a == k.b && k.bPort < k.aPort {
		return tuple{k.b, k.a, k.bPort, k.aPort, k.proto}, true
	}
	return k, false
}

func less(x, y *packet.Addr) bool {
	for i := range x {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return false
}

// question gives the type of message that one of ICMP answers, if it is an answer:
// https://www.iana.org/assignments/icmp-parameters and …/icmpv6-parameters, read 2026-11-25.
func question(proto, kind uint8) (uint16, bool) {
	if proto == packet.ICMPv6 {
		if kind == 129 { // echo
			return 128, true
		}
		return uint16(kind), false
	}
	switch kind {
	case 0: // echo
		return 8, true
	case 14, 16, 18: // timestamp, information, address mask
		return uint16(kind - 1), true
	}
	return uint16(kind), false
}

// add counts a packet. It gives false for a part of a packet whose beginning was not seen.
func (t *table) add(p *packet.Packet, at int64, number uint64) bool {
	if at != 0 {
		t.now = max(t.now, at)
		if t.start == 0 {
			t.start = at
		}
	}
	var k tuple
	var b bool
	switch p.Fragment {
	case packet.Later:
		f := t.fragment(p)
		if f == nil || !f.set || f.src != p.Src || f.dst != p.Dst || f.id != p.ID || f.proto != p.Proto {
			return false
		}
		k, b = f.whose, f.fromB
	case packet.First:
		k, b = keyOf(p)
		if t.parts == nil {
			t.parts = new([fragments]part)
		}
		*t.fragment(p) = part{p.Src, p.Dst, p.ID, p.Proto, true, k, b}
	case packet.Whole:
		k, b = keyOf(p)
	}
	c := t.find(k)
	if c.packets > 0 && t.another(c, p, at, b) {
		t.done(c)
		*c = conn{tuple: k}
	}
	if c.packets == 0 {
		c.number = number
		if b {
			c.state = bFirst
		}
	}
	c.packets++
	c.bytes += uint64(p.Length) // #nosec G115 -- not negative
	if at != 0 {
		c.last = max(c.last, at)
		if c.first == 0 || at < c.first {
			c.first = at
		}
	}
	if b {
		c.state |= fromB
	} else {
		c.state |= fromA
	}
	switch {
	case p.Fragment == packet.Later:
	case p.Proto == packet.TCP:
		t.tcp(c, p, b)
	case p.Proto == packet.ICMP || p.Proto == packet.ICMPv6:
		c.state |= begun
		t.unreachable(p)
	case p.Broadcast || isGroup(&p.Dst):
		c.state |= group
	}
	return true
}

// fragment gives the place where a packet in fragments is remembered.
func (t *table) fragment(p *packet.Packet) *part {
	if t.parts == nil {
		return nil
	}
	h := p.ID*0x9e3779b1 ^ uint32(p.Src[15])<<8 ^ uint32(p.Dst[15])<<16
	return &t.parts[(h>>20^h)%fragments]
}

// find gives the connection of a tuple, a new one if there is none. It is valid until the
// next call.
func (t *table) find(k tuple) *conn {
	if i, ok := t.young.index[k]; ok {
		return &t.young.conns[i]
	}
	c := conn{tuple: k}
	if i, ok := t.old.index[k]; ok {
		c = t.old.conns[i]
		t.old.conns[i].state |= moved
		delete(t.old.index, k)
	}
	if len(t.young.conns) >= maxHalf {
		for i := range t.old.conns {
			if c := &t.old.conns[i]; c.state&moved == 0 {
				if !t.over(c) {
					t.early++
				}
				t.done(c)
			}
		}
		clear(t.old.index)
		t.young, t.old = half{t.old.index, t.old.conns[:0]}, t.young
	}
	if t.young.index == nil {
		t.young.index = map[tuple]int32{}
	}
	t.young.index[k] = int32(len(t.young.conns)) // #nosec G115 -- at most maxHalf
	t.young.conns = append(t.young.conns, c)
	return &t.young.conns[len(t.young.conns)-1]
}

// over reports whether nothing more is to be expected of a connection.
func (t *table) over(c *conn) bool {
	switch {
	case c.proto != packet.TCP:
		return t.now-c.last > idle
	case c.state&accepted == 0 && c.state&begun != 0:
		return c.state&refused != 0 || t.now-c.last >= synWait
	}
	return c.state&closed != 0
}

// another reports whether a packet begins something new on a tuple that was used before.
func (t *table) another(c *conn, p *packet.Packet, at int64, b bool) bool {
	if p.Proto != packet.TCP {
		return at != 0 && c.last != 0 && at-c.last > idle
	}
	if p.Flags&(packet.SYN|packet.ACK) != packet.SYN || p.Fragment == packet.Later {
		return false
	}
	if c.state&begun == 0 || c.state&closed != 0 {
		return true // that one was running before, or is over
	}
	if (c.state&byB != 0) != b {
		return c.state&accepted != 0 // else both began at the same time
	}
	return c.seq != p.Seq
}

// tcp follows who began a connection and what came of it.
func (t *table) tcp(c *conn, p *packet.Packet, b bool) {
	byClient := c.state&begun != 0 && (c.state&byB != 0) == b
	switch {
	case p.Flags&packet.FIN == 0:
	case b:
		c.state |= finB
	default:
		c.state |= finA
	}
	if c.state&(finA|finB) == finA|finB || p.Flags&packet.RST != 0 && (c.state&accepted != 0 || c.state&begun == 0) {
		c.state |= closed
	}
	switch {
	case p.Flags&packet.SYN != 0 && p.Flags&packet.ACK == 0:
		if c.state&begun == 0 {
			c.state |= begun
			c.seq = p.Seq
			if b {
				c.state |= byB
			}
		}
	case p.Flags&packet.SYN != 0:
		if c.state&begun == 0 {
			c.state |= begun
			c.seq = p.Ack - 1
			if !b {
				c.state |= byB
			}
			byClient = false
		}
		if !byClient {
			c.state |= accepted
			t.serves(p.Src, p.SrcPort)
		}
	case p.Flags&packet.RST != 0:
		if c.state&begun != 0 && !byClient {
			c.state |= refused // unless it was accepted
		}
	case c.state&begun != 0:
		c.state |= accepted
		if c.packets > 2 && c.state&placed == 0 { // now: it may last long, and there may be no room at its end
			c.state |= placed
			t.place(c, c.talk(c.state&byB != 0, true), true)
		}
	}
}

// serves remembers that a port accepts connections.
func (t *table) serves(addr packet.Addr, port uint16) {
	if len(t.servers) >= maxServers {
		return
	}
	if t.servers == nil {
		t.servers = map[serverKey]struct{}{}
	}
	t.servers[serverKey{addr, port, packet.TCP}] = struct{}{}
}

// unreachable marks the connection that a message of ICMP says no to.
// https://www.iana.org/assignments/icmp-parameters and …/icmpv6-parameters, read 2026-11-25.
func (t *table) unreachable(p *packet.Packet) {
	switch {
	case p.Proto == packet.ICMP && p.Type == 3 && p.Code != 4: // 4 asks for smaller packets
	case p.Proto == packet.ICMPv6 && p.Type == 1:
	default:
		return
	}
	var q packet.Packet
	if packet.Quoted(p.Payload, &q) != packet.Decoded || q.Fragment == packet.Later || q.Proto == packet.ICMP || q.Proto == packet.ICMPv6 {
		return
	}
	k, b := keyOf(&q)
	c := (*conn)(nil)
	if i, ok := t.young.index[k]; ok {
		c = &t.young.conns[i]
	} else if i, ok := t.old.index[k]; ok {
		c = &t.old.conns[i]
	}
	if c == nil {
		return
	}
	answer := fromB
	if b {
		answer = fromA
	}
	if c.state&answer == 0 {
		c.state |= refused
	}
}

// finish adds up what is still followed, and gives back what is needed for following.
func (t *table) finish() {
	for _, h := range []*half{&t.old, &t.young} {
		for i := range h.conns {
			if c := &h.conns[i]; c.state&moved == 0 {
				t.done(c)
			}
		}
	}
	*t = table{talks: t.talks, lost: t.lost, early: t.early, running: t.running, oneWay: t.oneWay, bothWays: t.bothWays}
}

// done adds up a connection that is over.
func (t *table) done(c *conn) {
	both := c.state&(fromA|fromB) == fromA|fromB
	byB, sure := t.whose(c)
	k := c.talk(byB, sure)
	times, no := uint64(1), false
	answered := both || c.state&group != 0
	if c.proto == packet.TCP {
		switch {
		case !sure:
			answered = true
			t.running++
			if t.early > 0 { // it may be the rest of one that was added up for want of room
				k.sure = true
				if _, ok := t.index[k]; ok {
					times = 0
					t.running--
				} else {
					k.sure = false
				}
			}
		case c.state&accepted != 0:
			answered = c.packets > 2 // with forged senders, a SYN is answered and no more
		default:
			answered = false
			no = c.state&refused != 0 || !both && c.last != 0 && t.now-c.last >= synWait
		}
		switch {
		case both:
			t.bothWays++
		case !sure, c.state&accepted != 0:
			t.oneWay++
		}
	} else {
		no = c.state&refused != 0 && !both
	}
	i, ok := t.place(c, k, answered)
	if !ok {
		t.lost++
		return
	}
	s := t.talks.at(i)
	if answered && !s.answered && t.talks.n-t.deaf < maxTalks {
		s.answered = true
		t.deaf--
	}
	s.times += times
	if no {
		s.refused++
	}
	s.packets += c.packets
	s.bytes += c.bytes
	s.number = min(s.number, c.number)
	s.last = max(s.last, c.last)
	if c.first != 0 && (s.first == 0 || c.first < s.first) {
		s.first = c.first
	}
}

// talk gives the key under which a connection is added up.
func (c *conn) talk(byB, sure bool) talkKey {
	if byB {
		return talkKey{c.b, c.a, c.aPort, c.proto, sure}
	}
	return talkKey{c.a, c.b, c.bPort, c.proto, sure}
}

// place gives the place of a key among the talks, a new one if there is room.
func (t *table) place(c *conn, k talkKey, answered bool) (int32, bool) {
	i, ok := t.index[k]
	switch {
	case ok:
		return i, true
	case t.talks.n-t.deaf >= maxTalks && answered, t.deaf >= maxDeaf && !answered:
		return 0, false
	}
	if t.index == nil {
		t.index = map[talkKey]int32{}
	}
	i = t.talks.add(talk{talkKey: k, answered: answered, number: c.number, first: c.first})
	t.index[k] = i
	if !answered {
		t.deaf++
	}
	return i, true
}

// whose says whether b is the client, and whether that was seen.
func (t *table) whose(c *conn) (b, sure bool) {
	if c.state&begun != 0 {
		return c.state&byB != 0, true
	}
	b = c.state&bFirst != 0
	if c.state&group != 0 {
		return b, true
	}
	if c.proto != packet.TCP && c.proto != packet.UDP {
		return b, false
	}
	aClass, bClass := classOf(c.aPort), classOf(c.bPort)
	if c.proto == packet.UDP {
		if aClass == bClass { // one that began while we looked was begun by who sent first
			return b, c.first != 0 && c.first-t.start > idle
		}
		return bClass > aClass, b == (bClass > aClass)
	}
	_, aServes := t.servers[serverKey{c.a, c.aPort, c.proto}]
	_, bServes := t.servers[serverKey{c.b, c.bPort, c.proto}]
	switch {
	case aServes != bServes:
		return aServes, false
	case aClass != bClass:
		return bClass > aClass, false
	case c.aPort != c.bPort:
		return c.bPort > c.aPort, false
	}
	return b, false
}
