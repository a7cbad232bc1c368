package host

import (
	"cmp"
	"encoding/binary"
	"iter"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Traffic is a set of conversations with what sources saw of them. The zero value is
// empty, which says nothing about what was said: see Watches. A copy shares what it holds
// with the original: of the two only one may be changed.
//
// What it holds is packed, to less than half of what Conversations take: there may be
// hundreds of thousands.
type Traffic struct {
	talks    map[packedTalk]int32 // the place of the first sighting
	blocks   [][]packedSighting   // all but the last are full
	sources  numbered[Source]     // without At
	prefixes numbered[string]     // of At
	programs numbered[string]
	// Lost is the number of sightings that were left out because of MaxTalks.
	Lost int
}

type packedTalk struct {
	client, server [16]byte
	port           uint16
	proto          IPProto
}

// packedSighting is a Sighting; words are numbers in the lists of Traffic.
type packedSighting struct {
	times, refused               int
	packets, bytes               uint64
	first, last                  int64 // seconds since 1970, or noTime
	firstNanos, lastNanos        int32
	number                       uint64 // At ends with it, unless it is noNumber
	source, prefix, program, pid uint32
	next                         int32 // the place of the next one of the same talk; 0 for none
	sure                         bool
}

const (
	blockSize = 256
	noTime    = math.MinInt64
	noNumber  = math.MaxUint64
	// maxDigits of a number fit.
	maxDigits = 18
)

// numbered is a list in which each value has a number.
type numbered[T comparable] struct {
	list []T
	at   map[T]uint32
}

func (n *numbered[T]) number(v T) uint32 {
	if at, ok := n.at[v]; ok {
		return at
	}
	if n.at == nil {
		n.at = map[T]uint32{}
	}
	at := uint32(len(n.list)) // #nosec G115 -- no more than sightings
	n.at[v] = at
	n.list = append(n.list, v)
	return at
}

// Add records a sighting. One of the same source, process and certainty as another of the same talk
// is added to it: counts are summed, the span is widened.
func (t *Traffic) Add(k Talk, s Sighting) {
	k.Client, k.Server = plain(k.Client), plain(k.Server)
	if !k.Client.IsValid() || !k.Server.IsValid() {
		return
	}
	key := packedTalk{k.Client.As16(), k.Server.As16(), k.Port, k.Proto}
	head, known := t.talks[key]
	if !known {
		if len(t.talks) >= MaxTalks {
			t.Lost++
			return
		}
		t.begin(key, s)
		return
	}
	for at := head; ; at = t.seen(at).next {
		p := t.seen(at)
		if from := t.sources.list[p.source]; from.Reader == s.From.Reader && from.Input == s.From.Input &&
			p.pid == s.PID && t.programs.list[p.program] == s.Program && p.sure == s.Sure {
			p.add(s)
			return
		}
		if p.next == 0 {
			next := t.put(s) // p may have moved
			t.seen(at).next = next
			return
		}
	}
}

// begin records the first sighting of a talk.
func (t *Traffic) begin(key packedTalk, s Sighting) {
	if t.talks == nil {
		t.talks = map[packedTalk]int32{}
	}
	t.talks[key] = t.put(s)
}

func (t *Traffic) seen(at int32) *packedSighting { return &t.blocks[at/blockSize][at%blockSize] }

// put packs a sighting and gives its place.
func (t *Traffic) put(s Sighting) int32 {
	from := s.From
	from.At = ""
	p := packedSighting{
		packets: s.Packets, bytes: s.Bytes, times: s.Times, refused: s.Refused, pid: s.PID, sure: s.Sure,
		source: t.sources.number(from), program: t.programs.number(s.Program), number: noNumber,
	}
	prefix := strings.TrimRight(s.From.At, "0123456789")
	if n := s.From.At[len(prefix):]; n != "" && len(n) <= maxDigits && (n[0] != '0' || n == "0") {
		p.number, _ = strconv.ParseUint(n, 10, 64) // it is one
	} else {
		prefix = s.From.At
	}
	p.prefix = t.prefixes.number(prefix)
	p.first, p.firstNanos = packTime(s.First)
	p.last, p.lastNanos = packTime(s.Last)
	last := len(t.blocks) - 1
	if last < 0 || len(t.blocks[last]) == blockSize {
		t.blocks = append(t.blocks, nil)
		last++
		if last > 0 {
			t.blocks[last] = make([]packedSighting, 0, blockSize)
		}
	}
	t.blocks[last] = append(t.blocks[last], p)
	return int32(last*blockSize + len(t.blocks[last]) - 1) // #nosec G115 -- bounded by memory long before
}

func (p *packedSighting) add(s Sighting) {
	p.times += s.Times
	p.refused += s.Refused
	p.packets += s.Packets
	p.bytes += s.Bytes
	if first := unpackTime(p.first, p.firstNanos); !s.First.IsZero() && (first.IsZero() || s.First.Before(first)) {
		p.first, p.firstNanos = packTime(s.First)
	}
	if s.Last.After(unpackTime(p.last, p.lastNanos)) {
		p.last, p.lastNanos = packTime(s.Last)
	}
}

func packTime(t time.Time) (seconds int64, nanos int32) {
	if t.IsZero() {
		return noTime, 0
	}
	return t.Unix(), int32(t.Nanosecond()) // #nosec G115 -- below 10^9
}

func unpackTime(seconds int64, nanos int32) time.Time {
	if seconds == noTime {
		return time.Time{}
	}
	return time.Unix(seconds, int64(nanos)).UTC()
}

func (t *Traffic) unpack(p *packedSighting) Sighting {
	from := t.sources.list[p.source]
	from.At = t.prefixes.list[p.prefix]
	if p.number != noNumber {
		from.At += strconv.FormatUint(p.number, 10)
	}
	return Sighting{
		From: from, Times: p.times, Refused: p.refused, Packets: p.packets, Bytes: p.bytes, Sure: p.sure, PID: p.pid, Program: t.programs.list[p.program],
		First: unpackTime(p.first, p.firstNanos), Last: unpackTime(p.last, p.lastNanos),
	}
}

// plain gives an address in the one form in which addresses are compared.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// Len is the number of conversations.
func (t *Traffic) Len() int { return len(t.talks) }

// Each gives the conversations, ordered by server, protocol, port and client; the
// sightings of each by source.
func (t *Traffic) Each() iter.Seq[Conversation] {
	return func(yield func(Conversation) bool) {
		type item struct {
			key packedTalk
			at  int32
		}
		list := make([]item, 0, len(t.talks))
		for k, at := range t.talks {
			list = append(list, item{k, at})
		}
		slices.SortFunc(list, func(a, b item) int {
			return cmp.Or(compare16(a.key.server, b.key.server), cmp.Compare(a.key.proto, b.key.proto), cmp.Compare(a.key.port, b.key.port), compare16(a.key.client, b.key.client))
		})
		for i := range list {
			k := &list[i].key
			c := Conversation{Talk: Talk{netip.AddrFrom16(k.client).Unmap(), netip.AddrFrom16(k.server).Unmap(), k.proto, k.port}}
			for at := list[i].at; ; {
				p := t.seen(at)
				c.Seen = append(c.Seen, t.unpack(p))
				if at = p.next; at == 0 {
					break
				}
			}
			slices.SortStableFunc(c.Seen, func(a, b Sighting) int {
				return cmp.Or(cmp.Compare(a.From.Reader, b.From.Reader), cmp.Compare(a.From.Input, b.From.Input),
					cmp.Compare(a.From.At, b.From.At), cmp.Compare(a.PID, b.PID), cmp.Compare(a.Program, b.Program))
			})
			if !yield(c) {
				return
			}
		}
	}
}

// compare16 orders addresses as netip does: those of IPv4 first.
func compare16(a, b [16]byte) int {
	if a == b {
		return 0
	}
	return netip.AddrFrom16(a).Unmap().Compare(netip.AddrFrom16(b).Unmap())
}

// All returns the conversations as Each gives them, for where there are few.
func (t *Traffic) All() []Conversation {
	out := make([]Conversation, 0, len(t.talks))
	for c := range t.Each() {
		out = append(out, c)
	}
	return out
}

// Merge adds every sighting of o to t, which may take over what o holds: o must not be
// changed afterwards.
func (t *Traffic) Merge(o Traffic) {
	if t.talks == nil {
		lost := t.Lost + o.Lost
		*t = o
		t.Lost = lost
		return
	}
	t.Lost += o.Lost
	for c := range o.Each() { // in order: the same ones are left out each time
		for _, s := range c.Seen {
			t.Add(c.Talk, s)
		}
	}
}

func (t *Traffic) encode(e *encoder) {
	e.number(uint64(len(t.talks)))
	for c := range t.Each() {
		e.value(reflect.ValueOf(&c).Elem())
	}
	e.b = binary.AppendVarint(e.b, int64(t.Lost))
}

func (t *Traffic) decode(d *decoder) error {
	n, err := d.count()
	if err != nil {
		return err
	}
	for range n {
		var c Conversation
		if err := d.value(reflect.ValueOf(&c).Elem()); err != nil {
			return err
		}
		for _, s := range c.Seen {
			t.Add(c.Talk, s)
		}
	}
	return d.value(reflect.ValueOf(&t.Lost).Elem())
}
