package pcap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// The .cap of Microsoft Network Monitor. Its header is CAPTUREFILE_HEADER_VALUES,
// https://learn.microsoft.com/windows/win32/netmon2/capturefile-header-values, read 2026-11-25. Frames and
// what versions 2.1 to 2.3 put behind them are described in the help of Network Monitor 3 ("Network Monitor
// Capture File Format"); where that says little, editcap's files decided:
//
//	header  signature(4) minor(1) major(1) medium(2) SYSTEMTIME(16) table offset(4) and length(4) …
//	table   the place of each frame, 4 bytes each, in order of time
//	frame   2.x: microseconds since the header's time(8) length(4) captured(4) data
//	        1.x: milliseconds(4) length(2) captured(2) data
//	behind  2.1: medium(2); 2.2: and process(4); 2.3: and FILETIME in UTC(8) and zone(1)
//
// The header's time has no zone: it is that of the machine's clock.
type netmon struct {
	start int64 // nanoseconds, or 0
	head  int   // bytes before a frame's data
	tail  int   // and behind
	link  LinkType

	table *source
	left  uint32 // entries of the table
	// loose tells that there is no table, since it is the last thing in the file and the
	// file is cut: frames are read one after another up to limit.
	loose bool
	limit int64
	at    int64
}

const (
	netmonHeader = 128
	netmonMin    = 32 // what of the header is needed
	// netmonAgain is how often a file is read over, at most: frames stand in about the order
	// of the table.
	netmonAgain = 4
)

// The media of frames. Those from 0xe000 on are pcap's link types; those from 0xffe0 on are
// notes of the program itself.
const (
	mediumNone    = 0 // seen on frames of VPNs, which begin with Ethernet
	mediumEther   = 1
	mediumTunnel  = 7
	mediumWWAN    = 8
	mediumIP      = 9
	mediumPcap    = 0xe000
	mediumPcapEnd = 0xe07f
	mediumNotes   = 0xffe0
)

func mediumLink(m uint16) LinkType {
	switch {
	case m == mediumNone, m == mediumEther:
		return LinkEthernet
	case m == mediumTunnel, m == mediumWWAN, m == mediumIP:
		return LinkRaw
	case m >= mediumPcap && m <= mediumPcapEnd:
		return LinkType(m & 0xfff)
	}
	return LinkUnknown
}

func (r *Reader) openNetmon() error {
	b, err := r.src.peek(netmonMin)
	if err != nil {
		return errors.New("the file ends within its header")
	}
	le := binary.LittleEndian
	minor, major := b[4], b[5]
	m := &r.mon
	switch major {
	case 1:
		m.head = 8
	case 2:
		m.head = 16
		m.tail = [...]int{0, 2, 6, 15}[min(minor, 3)]
	default:
		return fmt.Errorf("a capture of Network Monitor of version %d.%d is not known", major, minor)
	}
	m.link = mediumLink(le.Uint16(b[6:]))
	var f [8]int
	for i := range f {
		f[i] = int(le.Uint16(b[8+2*i:]))
	}
	// SYSTEMTIME: year, month, day of the week, day, hour, minute, second, millisecond.
	if f[0] >= 1980 && f[0] < 2200 {
		m.start = time.Date(f[0], time.Month(f[1]), f[3], f[4], f[5], f[6], f[7]*1e6, time.UTC).UnixNano()
	}
	place, length := int64(le.Uint32(b[24:])), int64(le.Uint32(b[28:]))
	r.meta.Format, r.next = "Network Monitor", r.nextNetmon
	r.meta.LocalTime = major == 1 || minor < 3
	m.at = netmonHeader
	if place+length > r.src.size {
		m.loose, m.limit = true, min(place, r.src.size)
		return nil
	}
	m.left = uint32(length / 4) // #nosec G115 -- a quarter of 32 bits
	if int64(m.left)*int64(m.head+m.tail) > r.src.size {
		return fmt.Errorf("the file is damaged: a table of %d frames in a file of %d bytes", m.left, r.src.size)
	}
	m.table = &source{at: r.src.at, size: place + length, off: place}
	return nil
}

func (r *Reader) nextNetmon(p *Packet) error {
	for {
		found, err := r.frame(p)
		if found || err != nil {
			return err
		}
	}
}

// frame reads the next frame; not found is one that is no packet.
func (r *Reader) frame(p *Packet) (found bool, err error) {
	m := &r.mon
	le := binary.LittleEndian
	var b []byte
	switch {
	case m.loose && m.at >= m.limit:
		return false, ErrCut // the table is gone, so something is
	case !m.loose && m.left == 0:
		return false, io.EOF
	case !m.loose:
		if b, err = m.table.peek(4); err != nil {
			return false, fmt.Errorf("read the table of frames: %w", err)
		}
		m.at = int64(le.Uint32(b))
		m.table.skip(4)
		m.left--
	}
	r.src.seek(m.at)
	if r.src.read > netmonAgain*(r.src.size+window) {
		return false, errors.New("the file is damaged: its table of frames leads back and forth")
	}
	damaged := func(what string) error {
		if m.loose {
			return ErrCut
		}
		return fmt.Errorf("the file is damaged at byte %d: %s", m.at, what)
	}
	b, err = r.src.peek(m.head)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return false, damaged("a frame beyond the end")
	case err != nil:
		return false, r.cut(err)
	}
	var captured, length int64
	var since int64
	if m.head == 8 {
		since = int64(le.Uint32(b)) * 1e6
		length, captured = int64(le.Uint16(b[4:])), int64(le.Uint16(b[6:]))
	} else {
		// It counts microseconds but is meant to be signed once it is made tenths of them: a
		// frame may have come before the header's time.
		since = int64(le.Uint64(b)*10) * 100 // #nosec G115 -- as meant
		length, captured = int64(le.Uint32(b[8:])), int64(le.Uint32(b[12:]))
	}
	size := int64(m.head) + captured + int64(m.tail)
	if captured > maxRecord || size > r.src.size-m.at {
		return false, damaged(fmt.Sprintf("a frame of %d bytes", captured))
	}
	given := m.head + min(int(captured), maxData)
	var tail [15]byte
	if captured > maxData && m.tail > 0 { // looked at first: what is given must stay in the window
		r.src.seek(m.at + int64(m.head) + captured)
		if b, err = r.src.peek(m.tail); err != nil {
			return false, r.cut(err)
		}
		copy(tail[:], b)
		r.src.seek(m.at)
		b, err = r.src.peek(given)
	} else if b, err = r.src.peek(given + m.tail); err == nil {
		copy(tail[:], b[given:])
	}
	if err != nil {
		return false, r.cut(err)
	}
	m.at += size
	medium := le.Uint16(tail[:])
	if m.tail > 0 && medium >= mediumNotes {
		return false, nil
	}
	p.Data, p.Length, p.Link = b[m.head:given], int(min(max(captured, length), math.MaxInt32)), m.link
	if m.tail > 0 {
		p.Link = mediumLink(medium)
	}
	p.Time = 0
	if m.start != 0 {
		p.Time = m.start + since
	}
	if m.tail == 15 {
		if t := fromFiletime(le.Uint64(tail[6:])); t > 0 {
			p.Time = t
		}
	}
	if p.Time < 0 {
		p.Time = 0
	}
	return true, nil
}

// fromFiletime turns tenths of microseconds since 1601 into nanoseconds since 1970; 0 if that
// is not within them.
func fromFiletime(t uint64) int64 {
	const epoch, most = 116444736000000000, math.MaxInt64 / 100
	if t <= epoch || t-epoch > most {
		return 0
	}
	return int64(t-epoch) * 100 // #nosec G115 -- just compared
}
