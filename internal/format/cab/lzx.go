package cab

import "bytes"

// The window's size is 2^15 to 2^21 bytes in a cabinet. [MS-PATCH] 2.1.
const (
	minWindow = 15
	maxWindow = 21
)

// Kinds of LZX blocks.
const (
	lzxVerbatim = 1 + iota
	lzxAligned
	lzxUncompressed
)

const (
	lzxLengths   = 249 // symbols for the lengths of long matches
	lzxMaxE8     = 1 << 30
	lzxNoE8Tail  = 10 // the last bytes of a block, where calls are never translated
	lzxPreLength = 20
)

// slot is a class of distances: the first, and how many bits tell which one it is.
type slot struct {
	base int32
	bits uint8
}

// lzxSlots are for all windows; a smaller one uses the first of them only.
var lzxSlots = func() (slots [50]slot) {
	base := int32(0)
	for i := range slots {
		n := uint8(0)
		if i >= 4 {
			n = uint8(min(i/2-1, 17))
		}
		slots[i] = slot{base: base, bits: n}
		base += 1 << n
	}
	return slots
}()

// lzx unpacks a folder packed by LZX. Each block of the cabinet is a frame of 32 KiB (the last
// may be shorter), and the bits begin anew with it; LZX has blocks of its own, which do not
// mind the frames.
type lzx struct {
	buf   []byte // the window, and what comes after it until it slides
	at    int    // in buf, of the next frame
	size  int    // of the window
	total int64  // unpacked before this frame
	short bool   // the last frame was seen

	begun   bool
	e8      int32 // size of the file for which calls were translated; 0 if they were not
	recent  [3]int
	kind    uint32
	left    int  // of the LZX block
	pad     bool // a byte follows an uncompressed block of odd length
	mainLen [maxSymbols]byte
	longLen [lzxLengths]byte
	main    huffman
	long    huffman
	aligned huffman
	nMain   int
	out     []byte // the frame with calls translated
}

// newLZX makes a decoder for a folder that unpacks to total bytes: it needs no more memory
// than that, whatever window the folder states.
func newLZX(window uint8, total int64) *lzx {
	slots := [...]int{30, 32, 34, 36, 38, 42, 50}[window-minWindow]
	size := 1 << window
	room := max(int64(maxBlock), min(2*int64(size), total))
	return &lzx{size: size, buf: make([]byte, room), recent: [3]int{1, 1, 1}, nMain: 256 + 8*slots}
}

func (l *lzx) decode(in []byte, size int) ([]byte, error) {
	if l.short {
		return nil, damaged("LZX: a block follows a short one")
	}
	l.short = size < maxBlock
	if l.at+size > len(l.buf) {
		if l.at <= l.size {
			return nil, damaged("LZX: more data than stated")
		}
		copy(l.buf, l.buf[l.at-l.size:l.at])
		l.at = l.size
	}
	r := &bitReader{b: in[:len(in)+slack], end: len(in)}
	if !l.begun {
		l.begun = true
		if r.take(1) == 1 {
			l.e8 = int32(r.take(16)<<16 | r.take(16)) //nolint:gosec // a signed number
		}
	}
	frame := l.buf[:l.at+size]
	for at := l.at; at < len(frame); {
		if l.left == 0 {
			if err := l.begin(r); err != nil {
				return nil, err
			}
		}
		n := min(l.left, len(frame)-at)
		var err error
		if l.kind == lzxUncompressed {
			err = r.copyTo(frame[at : at+n])
		} else {
			err = l.matches(r, frame[:at+n], at)
		}
		if err != nil {
			return nil, err
		}
		at += n
		l.left -= n
	}
	if r.overrun() {
		return nil, damaged("LZX: a block is cut short")
	}
	if l.left == 0 && l.pad && r.p < r.end {
		l.pad = false // it stands in this frame
	}
	out := frame[l.at:]
	if l.e8 != 0 && size > lzxNoE8Tail && l.total < lzxMaxE8 {
		l.out = append(l.out[:0], out...)
		out = l.out
		untranslate(out, int32(l.total), l.e8) //nolint:gosec // below 1<<30
	}
	l.at += size
	l.total += int64(size)
	return out, nil
}

// begin reads the header of an LZX block.
func (l *lzx) begin(r *bitReader) error {
	if l.pad {
		r.p++
		l.pad = false
	}
	l.kind = r.take(3)
	l.left = int(r.take(24))
	switch l.kind {
	case lzxVerbatim, lzxAligned:
		if l.kind == lzxAligned {
			var lengths [8]byte
			for i := range lengths {
				lengths[i] = byte(r.take(3)) //nolint:gosec // three bits
			}
			if err := l.aligned.build(lengths[:], highestFirst); err != nil {
				return err
			}
		}
		if err := l.lengths(r, l.mainLen[:256], l.mainLen[256:l.nMain], l.longLen[:]); err != nil {
			return err
		}
		if err := l.main.build(l.mainLen[:l.nMain], highestFirst); err != nil {
			return err
		}
		return l.long.build(l.longLen[:], highestFirst)
	case lzxUncompressed:
		l.pad = l.left&1 == 1
		return l.align(r)
	}
	return damaged("LZX: a block of unknown kind %d", l.kind)
}

// align goes to the next word, always at least one bit on, and reads the recent distances.
func (l *lzx) align(r *bitReader) error {
	if r.n%16 == 0 {
		r.take(16)
	}
	r.p -= int(r.n / 16 * 2)
	r.acc, r.n = 0, 0
	if r.p+12 > r.end {
		return damaged("LZX: an uncompressed block is cut short")
	}
	for i := range l.recent {
		l.recent[i] = int(le.Uint32(r.b[r.p:]))
		r.p += 4
	}
	return nil
}

// copyTo copies bytes from a place between words.
func (r *bitReader) copyTo(dst []byte) error {
	if r.p+len(dst) > r.end {
		return damaged("LZX: an uncompressed block is cut short")
	}
	r.p += copy(dst, r.b[r.p:])
	return nil
}

// lengths reads lengths of codes, as differences from those of the block before.
func (l *lzx) lengths(r *bitReader, parts ...[]byte) error {
	for _, dst := range parts {
		var pre [lzxPreLength]byte
		for i := range pre {
			pre[i] = byte(r.take(4)) //nolint:gosec // four bits
		}
		// The code for lengths is done with before that for matches is needed.
		h := &l.long
		if err := h.build(pre[:], highestFirst); err != nil {
			return err
		}
		if h.empty {
			return damaged("LZX: no codes for the lengths of codes")
		}
		for i := 0; i < len(dst); {
			s, n, zero := r.symbol(h), 1, false
			switch s {
			case 17:
				n, zero = int(r.take(4))+4, true
			case 18:
				n, zero = int(r.take(5))+20, true
			case 19:
				n = int(r.take(1)) + 4
				s = r.symbol(h)
			}
			if s > 16 && !zero {
				return damaged("LZX: a length of a code is above 16")
			}
			v := byte(0)
			if !zero {
				v = byte((int(dst[i]) - s + 17) % 17) //nolint:gosec // below 17
			}
			for end := min(i+n, len(dst)); i < end; i++ {
				dst[i] = v
			}
		}
	}
	return nil
}

// matches decodes literals and matches into b from at on. The reader's state is kept in local
// variables meanwhile, which is worth a third of the time.
func (l *lzx) matches(r *bitReader, b []byte, at int) error {
	if l.main.empty {
		return damaged("LZX: no codes")
	}
	before := l.total - int64(l.at) // of what was unpacked, what the window no longer has
	in, acc, n, p := r.b, r.acc, r.n, r.p
	for at < len(b) {
		if n < 32 { // enough for two symbols
			if p <= r.end {
				acc |= words(in[p:]) >> n
			}
			p += int(64-n) >> 4 << 1
			n += (64 - n) &^ 15
		}
		e := l.main.look[acc>>(64-lookBits)]
		s, bits := int(e>>4), uint(e&15)
		if bits == 0 {
			s, bits = l.main.long(uint32(acc >> 48))
		}
		acc <<= bits & 31
		n -= bits
		if s < 256 {
			b[at] = byte(s)
			at++
			continue
		}
		s -= 256
		length := s&7 + 2
		if length == 9 {
			if l.long.empty {
				return damaged("LZX: no codes for lengths")
			}
			e := l.long.look[acc>>(64-lookBits)]
			more, bits := int(e>>4), uint(e&15)
			if bits == 0 {
				more, bits = l.long.long(uint32(acc >> 48))
			}
			acc <<= bits & 31
			n -= bits
			length += more
		}
		var off int
		switch class := s >> 3; class {
		case 0:
			off = l.recent[0]
		case 1, 2:
			off = l.recent[class]
			l.recent[class] = l.recent[0]
			l.recent[0] = off
		default:
			if n < 32 {
				if p <= r.end {
					acc |= words(in[p:]) >> n
				}
				p += int(64-n) >> 4 << 1
				n += (64 - n) &^ 15
			}
			d := lzxSlots[class]
			extra, aligned := uint(d.bits), l.kind == lzxAligned && d.bits >= 3
			if aligned {
				extra -= 3
			}
			v := int(acc >> 1 >> (63 - extra)) //nolint:gosec // at most 17 bits
			acc <<= extra
			n -= extra
			if aligned {
				if l.aligned.empty {
					return damaged("LZX: no codes for distances")
				}
				e := l.aligned.look[acc>>(64-lookBits)] // their codes are of 7 bits at most
				v = v<<3 + int(e>>4)
				acc <<= e & 15
				n -= uint(e & 15)
			}
			off = int(d.base) - 2 + v
			l.recent[2], l.recent[1], l.recent[0] = l.recent[1], l.recent[0], off
		}
		if off <= 0 || off > l.size || int64(off) > before+int64(at) || length > len(b)-at {
			return damaged("LZX: a match reaches outside")
		}
		if length <= 16 && off >= 8 && at+16 <= len(b) { // as copyMatch does it, without the call
			le.PutUint64(b[at:], le.Uint64(b[at-off:]))
			if length > 8 {
				le.PutUint64(b[at+8:], le.Uint64(b[at-off+8:]))
			}
		} else {
			copyMatch(b, at, off, length)
		}
		at += length
	}
	r.acc, r.n, r.p = acc, n, p
	return nil
}

// untranslate turns the absolute targets of x86 calls (E8) back into relative ones. The data
// begins at position cur; size is the file size that the encoder went by.
func untranslate(b []byte, cur, size int32) {
	for i := 0; ; {
		end := len(b) - lzxNoE8Tail
		if i >= end {
			return
		}
		next := bytes.IndexByte(b[i:end], 0xe8)
		if next < 0 {
			return
		}
		i += next
		here := cur + int32(i)              //nolint:gosec // below 1<<30 + 1<<15
		target := int32(le.Uint32(b[i+1:])) //nolint:gosec // a signed number
		if target >= -here && target < size {
			if target >= 0 {
				target -= here
			} else {
				target += size
			}
			le.PutUint32(b[i+1:], uint32(target)) //nolint:gosec // a signed number
		}
		i += 5
	}
}
