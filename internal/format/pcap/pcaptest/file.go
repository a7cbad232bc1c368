// Package pcaptest makes files of captured packets, and the packets in them. It is for tests only.
package pcaptest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Packet is one captured packet.
type Packet struct {
	At   time.Time
	Data []byte
	// Length is that on the wire where it is more than Data has.
	Length int
	// Interface is for pcapng alone, Medium for Network Monitor from 2.1 on.
	Interface uint32
	Medium    uint16
}

// What tests ask for fits.
func u16(v int) uint16   { return uint16(v) } // #nosec G115 -- see above
func u32(v int) uint32   { return uint32(v) } // #nosec G115 -- see above
func u64(v int64) uint64 { return uint64(v) } // #nosec G115 -- see above

func (p Packet) length() int { return max(p.Length, len(p.Data)) }

// Pcap is a pcap file. The zero value writes little-endian microseconds of Ethernet.
type Pcap struct {
	Big, Nano bool
	Modified  bool // as the patched libpcap of old Linux systems
	Link      uint32
	Snap      uint32
	Packets   []Packet
}

type appender interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

func order(big bool) appender {
	if big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// Bytes gives the file.
func (f Pcap) Bytes() []byte {
	o := order(f.Big)
	magic, part := uint32(0xa1b2c3d4), 1000
	switch {
	case f.Nano:
		magic, part = 0xa1b23c4d, 1
	case f.Modified:
		magic = 0xa1b2cd34
	}
	snap := f.Snap
	if snap == 0 {
		snap = 262144
	}
	link := f.Link
	if link == 0 {
		link = 1
	}
	b := o.AppendUint32(nil, magic)
	b = o.AppendUint16(b, 2)
	b = o.AppendUint16(b, 4)
	b = o.AppendUint64(b, 0)
	b = o.AppendUint32(b, snap)
	b = o.AppendUint32(b, link)
	for _, p := range f.Packets {
		b = o.AppendUint32(b, u32(int(p.At.Unix())))
		b = o.AppendUint32(b, u32(p.At.Nanosecond()/part))
		b = o.AppendUint32(b, u32(len(p.Data)))
		b = o.AppendUint32(b, u32(p.length()))
		if f.Modified {
			b = append(b, 1, 0, 0, 0, 8, 0, 0, 0)
		}
		b = append(b, p.Data...)
	}
	return b
}

// NG is a pcapng file under construction.
type NG struct {
	Big bool
	b   []byte
}

func (f *NG) o() appender { return order(f.Big) }

// Bytes gives what was written so far.
func (f *NG) Bytes() []byte { return f.b }

// Block writes a block of any type.
func (f *NG) Block(kind uint32, body []byte) *NG {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	n := u32(len(body) + 12)
	f.b = f.o().AppendUint32(f.b, kind)
	f.b = f.o().AppendUint32(f.b, n)
	f.b = append(f.b, body...)
	f.b = f.o().AppendUint32(f.b, n)
	return f
}

// Option makes an option of a block.
func (f *NG) Option(code uint16, v []byte) []byte {
	b := f.o().AppendUint16(nil, code)
	b = f.o().AppendUint16(b, u16(len(v)))
	b = append(b, v...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// Uint64 makes the value of an option.
func (f *NG) Uint64(v uint64) []byte { return f.o().AppendUint64(nil, v) }

// Section writes the header of a section.
func (f *NG) Section() *NG {
	b := f.o().AppendUint32(nil, 0x1a2b3c4d)
	b = f.o().AppendUint16(b, 1)
	b = f.o().AppendUint16(b, 0)
	b = f.o().AppendUint64(b, 0xffffffffffffffff)
	return f.Block(0x0a0d0d0a, b)
}

// Interface describes an interface; options are as Option makes them.
func (f *NG) Interface(link uint16, snap uint32, options ...[]byte) *NG {
	b := f.o().AppendUint16(nil, link)
	b = f.o().AppendUint16(b, 0)
	b = f.o().AppendUint32(b, snap)
	return f.Block(1, f.with(b, options))
}

func (f *NG) with(b []byte, options [][]byte) []byte {
	for _, o := range options {
		b = append(b, o...)
	}
	if len(options) > 0 {
		b = append(b, 0, 0, 0, 0)
	}
	return b
}

func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func (f *NG) stamp(b []byte, count uint64) []byte {
	b = f.o().AppendUint32(b, uint32(count>>32))
	return f.o().AppendUint32(b, u32(int(count&0xffffffff)))
}

// Packet writes an enhanced packet block with the time in 1/unit seconds.
func (f *NG) Packet(p Packet, unit uint64, options ...[]byte) *NG {
	count := u64(p.At.Unix())*unit + u64(int64(p.At.Nanosecond()))*unit/1e9
	b := f.o().AppendUint32(nil, p.Interface)
	b = f.stamp(b, count)
	b = f.o().AppendUint32(b, u32(len(p.Data)))
	b = f.o().AppendUint32(b, u32(p.length()))
	return f.Block(6, f.with(pad(append(b, p.Data...)), options))
}

// OldPacket writes an obsolete packet block, in microseconds.
func (f *NG) OldPacket(p Packet, lost uint16) *NG {
	b := f.o().AppendUint16(nil, u16(int(p.Interface)))
	b = f.o().AppendUint16(b, lost)
	b = f.stamp(b, u64(p.At.UnixMicro()))
	b = f.o().AppendUint32(b, u32(len(p.Data)))
	b = f.o().AppendUint32(b, u32(p.length()))
	return f.Block(2, pad(append(b, p.Data...)))
}

// SimplePacket writes a simple packet block, which has no time.
func (f *NG) SimplePacket(p Packet) *NG {
	return f.Block(3, append(f.o().AppendUint32(nil, u32(p.length())), p.Data...))
}

// Names writes a name resolution block.
func (f *NG) Names(names map[netip.Addr]string) *NG {
	var b []byte
	for _, addr := range slices.SortedFunc(maps.Keys(names), netip.Addr.Compare) {
		name := names[addr]
		kind := uint16(1)
		if addr.Is6() {
			kind = 2
		}
		b = append(b, f.Option(kind, append(append(addr.AsSlice(), name...), 0))...)
	}
	return f.Block(4, append(b, 0, 0, 0, 0))
}

// Statistics writes what an interface dropped.
func (f *NG) Statistics(index uint32, dropped, droppedBySystem uint64) *NG {
	b := f.o().AppendUint32(nil, index)
	b = f.stamp(b, 0)
	return f.Block(5, f.with(b, [][]byte{f.Option(5, f.Uint64(dropped)), f.Option(7, f.Uint64(droppedBySystem))}))
}

// Netmon is a capture of Network Monitor.
type Netmon struct {
	Major, Minor uint8
	Medium       uint16 // of the whole file, before 2.1
	Start        time.Time
	Packets      []Packet
	// Backwards stores the frames in the opposite order of the table.
	Backwards bool
}

// Bytes gives the file.
func (f Netmon) Bytes() []byte {
	le := binary.LittleEndian
	b := make([]byte, 128)
	copy(b, "GMBU")
	if f.Major == 1 {
		copy(b, "RTSS")
	}
	b[4], b[5] = f.Minor, f.Major
	le.PutUint16(b[6:], f.Medium)
	s := f.Start
	for i, v := range []int{s.Year(), int(s.Month()), int(s.Weekday()), s.Day(), s.Hour(), s.Minute(), s.Second(), s.Nanosecond() / 1e6} {
		le.PutUint16(b[8+2*i:], u16(v))
	}
	s = s.Truncate(time.Millisecond)
	places := make([]uint32, len(f.Packets))
	for i := range f.Packets {
		if f.Backwards {
			i = len(f.Packets) - 1 - i
		}
		p := f.Packets[i]
		places[i] = u32(len(b))
		if f.Major == 1 {
			b = le.AppendUint32(b, u32(int(p.At.Sub(s).Milliseconds())))
			b = le.AppendUint16(b, u16(p.length()))
			b = le.AppendUint16(b, u16(len(p.Data)))
			b = append(b, p.Data...)
			continue
		}
		b = le.AppendUint64(b, u64(p.At.Sub(s).Microseconds()))
		b = le.AppendUint32(b, u32(p.length()))
		b = le.AppendUint32(b, u32(len(p.Data)))
		b = append(b, p.Data...)
		if f.Minor >= 1 {
			b = le.AppendUint16(b, p.Medium)
		}
		if f.Minor >= 2 {
			b = le.AppendUint32(b, 0xffffffff)
		}
		if f.Minor >= 3 {
			b = le.AppendUint64(b, u64(p.At.UnixNano()/100+116444736000000000))
			b = append(b, 0)
		}
	}
	le.PutUint32(b[24:], u32(len(b)))
	le.PutUint32(b[28:], u32(4*len(places)))
	for _, at := range places {
		b = le.AppendUint32(b, at)
	}
	return b
}

// Gzip packs b.
func Gzip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b) // to memory
	_ = w.Close()
	return out.Bytes()
}
