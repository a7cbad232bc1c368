// Package pcap reads files of captured packets, one packet after another: pcap in both byte
// orders, with micro- and nanoseconds and with the longer records of old Linux systems; pcapng;
// and the .cap of Microsoft Network Monitor 1 to 3. All but the last may be packed with gzip.
// What is in a packet is not its matter.
//
// The format of pcap and pcapng is that of the Internet-Drafts draft-ietf-opsawg-pcap and
// draft-ietf-opsawg-pcapng (https://ietf-opsawg-wg.github.io/draft-ietf-opsawg-pcap/, read 2026-11-25).
//
// There is no library in between, though gopacket has readers of the first two: see docs/adr/0007-own-capture-readers.md.
package pcap

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
)

// LinkType says what a packet begins with: https://www.tcpdump.org/linktypes.html, read 2026-11-25.
type LinkType int32

// The link types that others ask for by name. LinkUnknown is that of a packet whose file
// does not tell.
const (
	LinkUnknown  LinkType = -1
	LinkNull     LinkType = 0 // BSD loopback
	LinkEthernet LinkType = 1
	LinkPPP      LinkType = 9
	LinkRaw12    LinkType = 12 // raw IP, as some systems number it
	LinkRaw14    LinkType = 14
	LinkRaw      LinkType = 101
	LinkLoop     LinkType = 108 // OpenBSD loopback
	LinkSLL      LinkType = 113 // Linux, all interfaces
	LinkIPv4     LinkType = 228
	LinkIPv6     LinkType = 229
	LinkSLL2     LinkType = 276
)

// Packet is one packet. Its zero value is fit for Reader.Next.
type Packet struct {
	// Data is the packet as far as it was captured, but no more than its first 64 KiB. It is
	// valid until the next call of Next.
	Data []byte
	// Length is how long the packet was when it went by; never less than Data has.
	Length int
	Link   LinkType
	// Time is in nanoseconds since 1970, in UTC but for Meta.LocalTime; 0 where it is not known.
	Time int64
}

// Name is a name of an address that the file itself holds, as Wireshark writes it.
type Name struct {
	Addr netip.Addr
	Name string
}

// Meta is what a file says about itself. It grows while packets are read.
type Meta struct {
	Format string // "pcap", "pcapng" or "Network Monitor"
	// Lost is how many packets the capturing program says it missed; LostTold whether it says.
	Lost     uint64
	LostTold bool
	// Filters are those the capturing program was given, each once.
	Filters []string
	// LocalTime tells that times are those of a clock on a wall, in UTC fields.
	LocalTime bool
	Names     []Name
	NamesLost uint64 // how many more names the file has than are kept
}

// ErrCut ends a file that stops in the middle of a record. What came before it was read.
var ErrCut = errors.New("the file ends within a packet")

// Bounds. None of them is near what a capturing program writes.
const (
	window        = 512 << 10 // what of the file is held at a time
	maxData       = 64 << 10  // of a packet, what is given; an IP packet without jumbograms
	maxRecord     = 16 << 20  // of a packet in the file; a longer one is damage
	maxInterfaces = 1024      // of a section; packets of further ones have LinkUnknown
	maxNames      = 10_000
	maxFilters    = 8
	maxWords      = 255     // bytes of a name or a filter
	maxUnpacked   = 1 << 40 // of a packed file
)

// Reader gives the packets of a file. It is not for several goroutines.
type Reader struct {
	src  *source
	meta Meta
	next func(*Packet) error
	err  error // what ended it

	order binary.ByteOrder

	// pcap
	link   LinkType
	header int    // bytes of a record's header
	unit   uint64 // parts of a second

	ng  section
	mon netmon
}

// NewReader reads the head of a file. An error means that it is no capture that this package
// can read; one that holds no packets is none.
func NewReader(r io.ReaderAt, size int64) (*Reader, error) {
	src := &source{at: r, size: size}
	head, err := src.peekUpTo(magicSize)
	if err != nil {
		return nil, err
	}
	if packed(head) {
		src = &source{size: maxUnpacked}
		if src.stream, err = gzip.NewReader(io.NewSectionReader(r, 0, size)); err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		if head, err = src.peekUpTo(magicSize); err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
	}
	rd := &Reader{src: src}
	switch kind := kindOf(head); {
	case kind == kindNone:
		return nil, errors.New("it does not begin as a capture does")
	case kind == kindNetmon && src.stream != nil:
		return nil, errors.New("a capture of Network Monitor that is packed: unpack it first")
	case kind == kindNetmon:
		err = rd.openNetmon()
	case kind == kindNG:
		rd.meta.Format, rd.next = "pcapng", rd.nextNG
		err = rd.openSection()
	default:
		err = rd.openPcap(kind)
	}
	if err != nil {
		return nil, err
	}
	return rd, nil
}

// Meta is what the file has said about itself so far. The caller must not change it.
func (r *Reader) Meta() Meta {
	m := r.meta
	lost, told := r.ng.lost()
	m.Lost, m.LostTold = m.Lost+lost, m.LostTold || told
	return m
}

// Next reads the next packet into p. It gives io.EOF at the end, ErrCut where the file stops
// in the middle of a record, and any other error where the rest is not readable. After an
// error it gives the same again.
func (r *Reader) Next(p *Packet) error {
	if r.err == nil {
		r.err = r.next(p)
	}
	return r.err
}

const magicSize = 12

type fileKind uint8

const (
	kindNone fileKind = iota
	kindMicro
	kindNano
	kindModified
	kindNG
	kindNetmon
)

// kinds are the first bytes of files, in the order of big-endian machines.
var kinds = map[uint32]fileKind{
	0xa1b2c3d4: kindMicro,
	0xa1b23c4d: kindNano,
	0xa1b2cd34: kindModified, // A. Kuznetsov's patched libpcap, of Linux systems about the year 2000
}

const (
	sectionMagic = "\x0a\x0d\x0d\x0a" // a palindrome: reads the same in both orders
	netmonMagic1 = "RTSS"
	netmonMagic2 = "GMBU"
)

func kindOf(head []byte) fileKind {
	switch {
	case len(head) < 4:
		return kindNone
	case string(head[:4]) == sectionMagic:
		if len(head) < magicSize || orderOf(head[8:]) == nil {
			return kindNone
		}
		return kindNG
	case string(head[:4]) == netmonMagic1, string(head[:4]) == netmonMagic2:
		return kindNetmon
	}
	return max(kinds[binary.BigEndian.Uint32(head)], kinds[binary.LittleEndian.Uint32(head)])
}

func packed(head []byte) bool { return bytes.HasPrefix(head, []byte("\x1f\x8b\x08")) }

// Is reports whether a file that begins with head is a capture. Of a packed file it looks
// at what is in it.
func Is(head []byte) bool {
	if packed(head) {
		z, err := gzip.NewReader(bytes.NewReader(head))
		if err != nil {
			return false
		}
		b := make([]byte, magicSize)
		n, _ := io.ReadFull(z, b) // what there is decides
		head = b[:n]
		if kindOf(head) == kindNetmon {
			return false
		}
	}
	return kindOf(head) != kindNone
}

// openPcap reads the header of a pcap file: 24 bytes.
func (r *Reader) openPcap(kind fileKind) error {
	b, err := r.src.peek(24)
	if err != nil {
		return errors.New("the file ends within its header")
	}
	r.order = binary.ByteOrder(binary.LittleEndian)
	if kinds[binary.BigEndian.Uint32(b)] != kindNone {
		r.order = binary.BigEndian
	}
	r.header, r.unit = 16, 1e6
	if kind == kindNano {
		r.unit = 1e9
	}
	if kind == kindModified {
		r.header = 24 // with the interface, the protocol and the direction
	}
	if v := r.order.Uint16(b[4:]); v != 2 {
		return fmt.Errorf("pcap of version %d.%d is not known", v, r.order.Uint16(b[6:]))
	}
	// The upper bits say whether frames end in a checksum, and how long it is.
	r.link = LinkType(r.order.Uint32(b[20:]) & 0xffff) // #nosec G115 -- 16 bits
	r.meta.Format, r.next = "pcap", r.nextPcap
	r.src.skip(24)
	return nil
}

func (r *Reader) nextPcap(p *Packet) error {
	b, err := r.src.peek(r.header)
	if err != nil {
		return r.cut(err)
	}
	sec, frac := r.order.Uint32(b), r.order.Uint32(b[4:])
	captured, length := r.order.Uint32(b[8:]), r.order.Uint32(b[12:])
	if captured > maxRecord {
		return fmt.Errorf("the file is damaged at byte %d: a packet of %d bytes", r.src.place(), captured)
	}
	if !r.src.has(int64(r.header) + int64(captured)) {
		return ErrCut
	}
	if b, err = r.src.peek(r.header + min(int(captured), maxData)); err != nil {
		return r.cut(err)
	}
	p.Data, p.Length, p.Link = b[r.header:], int(max(captured, length)), r.link
	// Some programs write a fraction of more than a second; it counts all the same.
	p.Time = int64(sec)*1e9 + int64(frac)*int64(1e9/r.unit) // #nosec G115 -- at most 2^32 * 10^9 and 2^32 * 1000
	r.src.skip(int64(r.header) + int64(captured))
	return nil
}

// cut says which error of Next one of the source is.
func (r *Reader) cut(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return ErrCut
	case errors.Is(err, io.EOF):
		return io.EOF
	}
	return fmt.Errorf("read at byte %d: %w", r.src.place(), err)
}

// words keeps a name or a filter of bounded length. The bytes are whatever the file holds.
func words(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b[:min(len(b), maxWords)])
}

// nanos turns a count of 1/unit seconds into nanoseconds; 0 if that is beyond what fits.
func nanos(count, unit uint64, offset int64) int64 {
	var sec, frac uint64
	switch unit {
	case 1e6: // what is usual, without a division of 128 bits
		sec, frac = count/1e6, count%1e6*1000
	case 1e9:
		sec, frac = count/1e9, count%1e9
	default:
		sec = count / unit
		frac = scale(count%unit, unit)
	}
	const most = int64(math.MaxInt64) / 1_000_000_000
	if sec >= uint64(most) || offset >= most || offset <= -most {
		return 0
	}
	t := (int64(sec) + offset) // #nosec G115 -- just compared
	if t <= 0 || t >= most {
		return 0
	}
	return t*1e9 + int64(frac) // #nosec G115 -- below 10^9
}
