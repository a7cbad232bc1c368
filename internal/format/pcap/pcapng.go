package pcap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
)

// section is what holds within one section of a pcapng file.
type section struct {
	interfaces []netInterface
	missing    int // interfaces over maxInterfaces
	// lostBefore is what the statistics of earlier sections came to; counted is what was
	// told packet by packet.
	lostBefore, counted uint64
	told                bool
}

type netInterface struct {
	link   LinkType
	snap   uint32
	unit   uint64 // parts of a second
	offset int64  // seconds
	lost   uint64
}

// lost adds up what was missed. Statistics and the counts of packets tell of the same.
func (s *section) lost() (uint64, bool) {
	n := s.lostBefore
	for i := range s.interfaces {
		n += s.interfaces[i].lost
	}
	return max(n, s.counted), s.told
}

// The types of blocks that are read, and the options in them.
const (
	blockInterface  = 1
	blockOldPacket  = 2 // obsolete
	blockSimple     = 3
	blockNames      = 4
	blockStatistics = 5
	blockPacket     = 6

	optEnd         = 0
	optResolution  = 9  // if_tsresol
	optFilter      = 11 // if_filter
	optOffset      = 14 // if_tsoffset
	optLost        = 5  // isb_ifdrop
	optLostSystem  = 7  // isb_osdrop
	optLostBetween = 4  // epb_dropcount

	blockMin = 12 // type, length and the length again
	// maxHead is what of a block is looked at: a packet as far as it is given, and what is
	// around it.
	maxHead = maxData + 4096
)

func orderOf(b []byte) binary.ByteOrder {
	const magic = 0x1a2b3c4d
	switch {
	case binary.LittleEndian.Uint32(b) == magic:
		return binary.LittleEndian
	case binary.BigEndian.Uint32(b) == magic:
		return binary.BigEndian
	}
	return nil
}

// openSection reads the section header that comes next.
func (r *Reader) openSection() error {
	b, err := r.src.peek(28)
	if err != nil {
		return errors.New("the file ends within the header of a section")
	}
	order := orderOf(b[8:])
	if order == nil {
		return fmt.Errorf("the file is damaged at byte %d: a section whose byte order is not told", r.src.place())
	}
	r.order = order
	if v := order.Uint16(b[12:]); v != 1 {
		return fmt.Errorf("pcapng of version %d.%d is not known", v, order.Uint16(b[14:]))
	}
	length := order.Uint32(b[4:])
	if length < 28 || length%4 != 0 {
		return r.badBlock(length)
	}
	lost, _ := r.ng.lost()
	r.ng = section{interfaces: r.ng.interfaces[:0], lostBefore: lost, counted: r.ng.counted, told: r.ng.told}
	if !r.src.has(int64(length)) {
		return ErrCut
	}
	r.src.skip(int64(length))
	return nil
}

func (r *Reader) badBlock(length uint32) error {
	return fmt.Errorf("the file is damaged at byte %d: a block of %d bytes", r.src.place(), length)
}

func (r *Reader) nextNG(p *Packet) error {
	for {
		b, err := r.src.peek(blockMin)
		if err != nil {
			return r.cut(err)
		}
		if string(b[:4]) == sectionMagic {
			if err = r.openSection(); err != nil {
				return err
			}
			continue
		}
		kind, length := r.order.Uint32(b), r.order.Uint32(b[4:])
		if length < blockMin || length%4 != 0 {
			return r.badBlock(length)
		}
		if (kind == blockPacket || kind == blockOldPacket || kind == blockSimple) && length > maxRecord {
			return r.badBlock(length)
		}
		if !r.src.has(int64(length)) {
			return ErrCut
		}
		whole := length <= maxHead
		if b, err = r.src.peek(int(min(length, maxHead))); err != nil {
			return r.cut(err)
		}
		body := b[8:]
		if whole {
			if again := r.order.Uint32(b[length-4:]); again != length {
				return fmt.Errorf("the file is damaged at byte %d: a block of %d bytes that ends as one of %d", r.src.place(), length, again)
			}
			body = b[8 : length-4]
		}
		found, ok := r.block(kind, body, length, p)
		if !ok {
			return r.badBlock(length)
		}
		r.src.skip(int64(length))
		if found {
			return nil
		}
	}
}

// block reads a block, of which body is the beginning. found tells that it is a packet; not
// ok that it is damaged.
func (r *Reader) block(kind uint32, body []byte, length uint32, p *Packet) (found, ok bool) {
	switch kind {
	case blockInterface:
		return false, r.addInterface(body)
	case blockStatistics:
		r.statistics(body)
	case blockNames:
		r.names(body)
	case blockPacket:
		return true, r.packet(body, length, p)
	case blockOldPacket:
		if len(body) < 20 {
			return true, false
		}
		if lost := r.order.Uint16(body[2:]); lost != math.MaxUint16 {
			r.ng.counted += uint64(lost)
			r.ng.told = r.ng.told || lost > 0
		}
		r.stamp(p, uint32(r.order.Uint16(body)), body[4:])
		return true, r.data(p, body[20:], r.order.Uint32(body[12:]), r.order.Uint32(body[16:]), length-32)
	case blockSimple:
		if len(body) < 4 {
			return true, false
		}
		full := r.order.Uint32(body)
		captured := min(full, length-16)
		p.Link, p.Time = LinkUnknown, 0
		if len(r.ng.interfaces) > 0 {
			p.Link = r.ng.interfaces[0].link
			if s := r.ng.interfaces[0].snap; s > 0 {
				captured = min(captured, s)
			}
		}
		return true, r.data(p, body[4:], captured, full, length-16)
	}
	return false, true
}

func (r *Reader) packet(body []byte, length uint32, p *Packet) bool {
	if len(body) < 20 {
		return false
	}
	captured := r.order.Uint32(body[12:])
	r.stamp(p, r.order.Uint32(body), body[4:])
	if !r.data(p, body[20:], captured, r.order.Uint32(body[16:]), length-32) {
		return false
	}
	if options := 20 + (int(captured)+3)&^3; options < len(body) {
		r.options(body[options:], func(code uint16, v []byte) {
			if code == optLostBetween && len(v) == 8 {
				r.ng.told = true
				r.ng.counted += r.order.Uint64(v)
			}
		})
	}
	return true
}

// stamp says when and where a packet was seen.
func (r *Reader) stamp(p *Packet, index uint32, t []byte) {
	if int64(index) >= int64(len(r.ng.interfaces)) {
		p.Link, p.Time = LinkUnknown, 0
		return
	}
	i := &r.ng.interfaces[index]
	p.Link = i.link
	p.Time = nanos(uint64(r.order.Uint32(t))<<32|uint64(r.order.Uint32(t[4:])), i.unit, i.offset)
}

// data gives a packet its bytes: room is what the block has for them.
func (r *Reader) data(p *Packet, b []byte, captured, full, room uint32) bool {
	if captured > room {
		return false
	}
	p.Data = b[:min(int(captured), maxData, len(b))]
	p.Length = int(max(captured, min(full, math.MaxInt32)))
	return true
}

func (r *Reader) addInterface(body []byte) bool {
	if len(body) < 8 {
		return false
	}
	if len(r.ng.interfaces) >= maxInterfaces {
		r.ng.missing++
		return true
	}
	i := netInterface{link: LinkType(r.order.Uint16(body)), snap: r.order.Uint32(body[4:]), unit: 1e6}
	r.options(body[8:], func(code uint16, v []byte) {
		switch {
		case code == optResolution && len(v) == 1:
			i.unit = unit(v[0])
		case code == optOffset && len(v) == 8:
			i.offset = int64(r.order.Uint64(v)) // #nosec G115 -- it is signed
		case code == optFilter && len(v) > 1 && v[0] == 0: // as text; 1 is the compiled filter
			if f := words(v[1:]); f != "" && len(r.meta.Filters) < maxFilters && !slices.Contains(r.meta.Filters, f) {
				r.meta.Filters = append(r.meta.Filters, f)
			}
		}
	})
	r.ng.interfaces = append(r.ng.interfaces, i)
	return true
}

// unit reads if_tsresol: a negative power of 10, or of 2 with the upper bit set. One that does
// not fit makes times unknown.
func unit(b byte) uint64 {
	if b&0x80 != 0 {
		if b &= 0x7f; b > 63 {
			return math.MaxUint64
		}
		return 1 << b
	}
	if b > 19 {
		return math.MaxUint64
	}
	u := uint64(1)
	for range b {
		u *= 10
	}
	return u
}

func (r *Reader) statistics(body []byte) {
	if len(body) < 12 {
		return
	}
	index := r.order.Uint32(body)
	if int64(index) >= int64(len(r.ng.interfaces)) {
		return
	}
	var lost uint64
	r.options(body[12:], func(code uint16, v []byte) {
		if (code == optLost || code == optLostSystem) && len(v) == 8 {
			r.ng.told = true
			lost += r.order.Uint64(v)
		}
	})
	r.ng.interfaces[index].lost = lost // each block counts from the beginning
}

func (r *Reader) names(body []byte) {
	const ends, v4, v6 = 0, 1, 2
	for len(body) >= 4 {
		kind, n := r.order.Uint16(body), int(r.order.Uint16(body[2:]))
		body = body[4:]
		if kind == ends || n > len(body) {
			return
		}
		v := body[:n]
		body = body[min((n+3)&^3, len(body)):]
		size := map[uint16]int{v4: 4, v6: 16}[kind]
		if size == 0 || n <= size {
			continue
		}
		addr, _ := netip.AddrFromSlice(v[:size])
		switch name := words(v[size:]); {
		case name == "":
		case len(r.meta.Names) >= maxNames:
			r.meta.NamesLost++
		default:
			r.meta.Names = append(r.meta.Names, Name{addr, name})
		}
	}
}

// options calls see for each option, as far as they are sound.
func (r *Reader) options(b []byte, see func(code uint16, v []byte)) {
	for len(b) >= 4 {
		code, n := r.order.Uint16(b), int(r.order.Uint16(b[2:]))
		b = b[4:]
		if code == optEnd || n > len(b) {
			return
		}
		see(code, b[:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}
