// Package capture reads files of captured packets and says who talked to whom. Which of those is the machine
// that the evidence is about, it leaves to others: a capture does not tell.
//
// How things are counted:
//
//   - A TCP connection is one tuple of addresses and ports from its SYN on; a SYN with another sequence
//     number is another connection. It is sure who began it where a SYN, or the answer to one, was seen. One that
//     was running when the capture began is taken apart by its ports (see ports.go) and is not sure.
//   - A connection is refused where nothing was accepted, and a RST answered the SYN, or a message of ICMP said
//     that host or port cannot be reached or that it is prohibited, or nothing came back though the capture
//     went on for synWait. What the client sends after its SYN also shows that it was accepted: a mirror
//     port may show one direction only.
//   - UDP, ICMP and protocols without ports have conversations: packets with the same tuple and no pause of
//     idle between them. The server of UDP is the side with the known port, else who did not begin.
//   - Answers of ICMP count with what they answer. ICMP says itself who asked.
//   - Bytes are those of IP packets, their headers included, whatever the link adds.
package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/format/packet"
	"github.com/oldguard/oldguard/internal/format/pcap"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "capture"

// Reader reads packet captures.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `Packets captured on the machine's line: pcap, pcapng, also packed with gzip, and .cap of Microsoft Network Monitor.
Files of one capture that follow one another, as tcpdump -C and dumpcap -b write them, are read as one.
Obtain it with: dumpcap -i 1 -f "host 192.0.2.11" -s 512 -w fs01.pcapng on a machine at a mirror port of the switch
or on Server 2008 itself with Network Monitor 3.4: nmcap /network * /capture /MaxFrameLength 512 /file fs01.chn:500MB
It proves who talked to whom on which port while it ran, who began, and what was refused; names from DNS, NetBIOS and DHCP
come with it. What was not said while it ran it does not know, nor which of the machines in it is meant.`,
	Sniff: func(p evidence.Probe) bool { return pcap.Is(p.Head) },
	Read:  read,
}

// reader is the reading of one file, or of several that follow one another.
type reader struct {
	pieces []piece
	table  table
	names  names
	meta   pcap.Meta // of all files together
	notes  []string  // limits that came up while reading

	records, skipped uint64
	first, last      int64 // of all packets; 0 without a clock

	notIP, short, damaged, cut uint64
	tunnels                    uint64
	orphans                    uint64
	unknown                    map[pcap.LinkType]uint64
	longestCut                 int
}

func newReader() *reader { return &reader{unknown: map[pcap.LinkType]uint64{}} }

// maxLinks bounds the link types that are counted apart; a file of Network Monitor has one for
// each packet.
const maxLinks = 8

// file reads one file, of several or not. An error is that of ctx.
func (r *reader) file(ctx context.Context, f member, several bool, file *pcap.Reader, h *host.Host) error {
	r.begin(f)
	r.names.input = f.Name
	note := func(s string) {
		if several {
			s = base(f.Name) + ": " + s
		}
		r.notes = append(r.notes, s)
	}
	if err := r.packets(file); errors.Is(err, pcap.ErrCut) {
		note("The file ends within a packet: what was captured after that is not in it.")
	} else if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		note("A part of the file could not be read: " + err.Error() + ".")
		h.Gap(host.Gap{What: "traffic", From: host.Source{Reader: readerName, Input: f.Name}, Why: err.Error()})
	}
	m := file.Meta()
	for _, n := range m.Names {
		r.names.add(n.Addr.Unmap().As16(), n.Name, "the file's own list of names")
	}
	if r.meta.Format == "" {
		r.meta.Format = m.Format
	}
	r.meta.Lost += m.Lost
	r.meta.LostTold = r.meta.LostTold || m.LostTold
	r.meta.LocalTime = r.meta.LocalTime || m.LocalTime
	r.meta.NamesLost += m.NamesLost
	for _, filter := range m.Filters {
		if !slices.Contains(r.meta.Filters, filter) {
			r.meta.Filters = append(r.meta.Filters, filter)
		}
	}
	return nil
}

// stoppable ends a reading with its context.
type stoppable struct {
	ctx context.Context
	r   io.ReaderAt
}

// ReadAt reads unless the context has ended.
func (s stoppable) ReadAt(b []byte, off int64) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.ReadAt(b, off)
}

// packets reads to the end of the file, which is no error.
func (r *reader) packets(file *pcap.Reader) error {
	var p pcap.Packet
	var k packet.Packet
	for {
		if err := file.Next(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		r.records++
		if p.Time != 0 {
			if p.Time > r.last {
				r.last = p.Time
			}
			if r.first == 0 || p.Time < r.first {
				r.first = p.Time
			}
		}
		if len(p.Data) < p.Length {
			r.cut++
			r.longestCut = max(r.longestCut, len(p.Data))
		}
		r.packet(&p, &k)
	}
}

func (r *reader) packet(p *pcap.Packet, k *packet.Packet) {
	switch packet.Decode(p.Link, p.Data, p.Length, k) {
	case packet.Decoded:
	case packet.NotIP:
		r.skipped++
		r.notIP++
		return
	case packet.UnknownLink:
		r.skipped++
		link := p.Link
		if _, known := r.unknown[link]; !known && len(r.unknown) >= maxLinks {
			link = pcap.LinkUnknown
		}
		r.unknown[link]++
		return
	case packet.Cut:
		r.skipped++
		r.short++
		return
	case packet.Damaged:
		r.skipped++
		r.damaged++
		return
	}
	if tunnel[k.Proto] {
		r.tunnels++
	}
	if !r.table.add(k, p.Time, r.records) {
		r.skipped++
		r.orphans++
		return
	}
	if k.Proto == packet.UDP && k.Fragment != packet.Later {
		r.names.look(k, r.records-r.pieces[len(r.pieces)-1].before)
	}
}

// tunnel are the protocols that carry other packets: https://www.iana.org/assignments/protocol-numbers,
// read 2026-11-24.
var tunnel = [256]bool{
	4:   true, // IPv4
	41:  true, // IPv6
	47:  true, // GRE
	50:  true, // ESP
	97:  true, // EtherIP
	115: true, // L2TP
}

// say puts into h what was found.
func (r *reader) say(h *host.Host) {
	r.table.finish()
	from := host.Source{Reader: readerName, Input: r.pieces[0].name, Taken: moment(r.last)}
	for i, block := range r.table.talks.blocks {
		for j := range block {
			t := &block[j]
			at, number := from, uint64(0)
			at.Input, number = r.at(t.number)
			at.At = "packet " + strconv.FormatUint(number, 10)
			h.Traffic.Add(host.Talk{Client: addrOf(t.client), Server: addrOf(t.server), Proto: host.IPProto(t.proto), Port: t.port}, host.Sighting{
				From: at, Times: count(t.times), Refused: count(t.refused), Packets: t.packets, Bytes: t.bytes,
				First: moment(t.first), Last: moment(t.last), Sure: t.sure,
			})
		}
		r.table.talks.blocks[i] = nil // h has it now
	}
	h.Traffic.Lost += count(r.table.lost)
	for i := range r.names.list {
		r.names.list[i].From.Taken = from.Taken
	}
	h.Names = append(h.Names, r.names.list...)
	from.At = r.meta.Format
	h.Watches = append(h.Watches, host.Watch{
		From: from, Kind: "capture", First: moment(r.first), Last: moment(r.last), Records: r.records, Skipped: r.skipped,
		Limits: slices.Concat(r.serial(), r.notes, r.limits()),
	})
}

// serial says of what files it is, if they are several.
func (r *reader) serial() []string {
	if len(r.pieces) < 2 {
		return nil
	}
	return []string{fmt.Sprintf("These are %d files that follow one another, %s to %s, read as one capture.",
		len(r.pieces), base(r.pieces[0].name), base(r.pieces[len(r.pieces)-1].name))}
}

// limits says, one sentence each, what the capture could not show.
func (r *reader) limits() (out []string) {
	meta := &r.meta
	say := func(n uint64, one, many string) {
		if n > 0 {
			out = append(out, evidence.Count(count(n), one, many))
		}
	}
	for _, f := range meta.Filters {
		out = append(out, fmt.Sprintf("Only what passes the filter %q was captured.", f))
	}
	if meta.LostTold {
		say(meta.Lost, "packet was missed while capturing, by the capturing program's own count.", "packets were missed while capturing, by the capturing program's own count.")
	} else if r.records > 0 {
		out = append(out, "The file does not tell whether packets were missed while capturing.")
	}
	if meta.LocalTime && r.records > 0 {
		out = append(out, "Times are those of the capturing machine's clock, in a time zone that the file does not tell.")
	}
	say(r.notIP, "packet is no IP.", "packets are no IP.")
	for _, link := range sortedLinks(r.unknown) {
		what := "of a link type that is not read"
		if link != pcap.LinkUnknown {
			what = "of link type " + strconv.Itoa(int(link)) + ", which is not read"
		}
		say(r.unknown[link], "packet is "+what+".", "packets are "+what+".")
	}
	if r.cut > 0 {
		out = append(out, evidence.Count(count(r.cut), "packet was", "packets were")+fmt.Sprintf(" cut while capturing, to at most %d bytes.", r.longestCut))
	}
	say(r.short, "packet was cut before its ports.", "packets were cut before their ports.")
	say(r.damaged, "packet has a header that contradicts itself.", "packets have headers that contradict themselves.")
	say(r.orphans, "fragment came without the beginning of its packet.", "fragments came without the beginning of their packets.")
	say(r.tunnels, "packet is of a tunnel; what it carries was not looked at.", "packets are of tunnels; what they carry was not looked at.")
	say(r.table.running, "connection was running when the capture began: who began it is taken from its ports.", "connections were running when the capture began: who began them is taken from their ports.")
	if t := &r.table; t.oneWay > 10 && t.oneWay > 9*t.bothWays {
		out = append(out, "Of nearly all connections one direction only was captured.")
	}
	if r.table.early > 0 {
		out = append(out, fmt.Sprintf("More than %d connections ran at the same time: some may be counted twice, and not every unanswered one counts as refused.", 2*maxHalf))
	}
	say(r.table.lost, "connection was left out, since there are too many different ones.", "connections were left out, since there are too many different ones.")
	say(r.names.lost+meta.NamesLost, "name was left out, since there are too many.", "names were left out, since there are too many.")
	return out
}

func count(n uint64) int { return int(min(n, math.MaxInt)) } // #nosec G115 -- just bounded

func moment(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}

func addrOf(a packet.Addr) netip.Addr { return netip.AddrFrom16(a).Unmap() }
