package cab

import "math/bits"

// mszip unpacks blocks that are Deflate streams of their own but for their history, which is
// that of the folder. Blocks are short and at hand as a whole, so that an inflater of our own
// is three times as fast as one that reads a stream. RFC 1951.
type mszip struct {
	buf      []byte // history, then the block
	history  int
	literals huffman
	distance huffman
	fixed    bool // the codes are those of fixed blocks
}

func newMSZIP() *mszip { return &mszip{buf: make([]byte, 2*maxBlock)} }

const (
	maxLiterals  = 288
	maxDistances = 32
	endOfBlock   = 256
)

// extended is what a symbol for a length or a distance stands for: the least, and how many
// bits are added.
type extended struct {
	base uint16
	bits uint8
}

var (
	inflateLengths   = extendedCodes(29, 4, 3)
	inflateDistances = extendedCodes(30, 2, 1)
	// inflateOrder is the order in which lengths of codes for lengths come.
	inflateOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// extendedCodes makes the table for n symbols, of which as many as step share a number of bits.
func extendedCodes(n, step int, base uint16) (codes [32]extended) {
	for i := range n {
		extra := uint8(max(i/step-1, 0)) //nolint:gosec // at most 13
		codes[i] = extended{base: base, bits: extra}
		base += 1 << extra
	}
	if n == 29 {
		codes[28] = extended{base: 258} // the one that breaks the rule
	}
	return codes
}

func (z *mszip) decode(in []byte, size int) ([]byte, error) {
	if len(in) < 2 || in[0] != 'C' || in[1] != 'K' {
		return nil, damaged("MSZIP: a block does not begin with CK")
	}
	if z.history > maxBlock {
		copy(z.buf, z.buf[z.history-maxBlock:z.history])
		z.history = maxBlock
	}
	out := z.buf[:z.history+size]
	r := &lsbReader{b: in[2 : len(in)+slack], end: len(in) - 2}
	at := z.history
	for last := false; !last; {
		r.refill()
		last = r.take(1) == 1
		var err error
		switch r.take(2) {
		case 0:
			at, err = r.storedBlock(out, at)
		case 1:
			if err = z.fixedCodes(); err == nil {
				at, err = z.block(r, out, at)
			}
		case 2:
			if err = z.codes(r); err == nil {
				at, err = z.block(r, out, at)
			}
		default:
			err = damaged("MSZIP: a block of unknown kind")
		}
		if err != nil {
			return nil, err
		}
		if r.overrun() {
			return nil, damaged("MSZIP: a block is cut short")
		}
	}
	if at != len(out) {
		return nil, damaged("MSZIP: less data than stated")
	}
	z.history = at
	return out[at-size:], nil
}

func (r *lsbReader) storedBlock(out []byte, at int) (int, error) {
	r.p -= int(r.n / 8)
	r.acc, r.n = 0, 0
	if r.p+4 > r.end {
		return at, damaged("MSZIP: a block is cut short")
	}
	n, inverse := le.Uint16(r.b[r.p:]), le.Uint16(r.b[r.p+2:])
	r.p += 4
	if n != ^inverse || int(n) > len(out)-at || r.p+int(n) > r.end {
		return at, damaged("MSZIP: a stored block is longer than its place")
	}
	copy(out[at:], r.b[r.p:r.p+int(n)])
	r.p += int(n)
	return at + int(n), nil
}

func (z *mszip) fixedCodes() error {
	if z.fixed {
		return nil
	}
	var lengths [maxLiterals]byte
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	if err := z.literals.build(lengths[:], lowestFirst); err != nil {
		return err
	}
	for i := range maxDistances {
		lengths[i] = 5
	}
	z.fixed = true
	return z.distance.build(lengths[:maxDistances], lowestFirst)
}

// codes reads the codes of a block.
func (z *mszip) codes(r *lsbReader) error {
	z.fixed = false
	r.refill()
	literals, distances, pre := int(r.take(5))+257, int(r.take(5))+1, int(r.take(4))+4
	if literals > 286 {
		return damaged("MSZIP: too many codes")
	}
	var lengths [maxLiterals + maxDistances]byte
	for _, s := range inflateOrder[:pre] {
		r.refill()
		lengths[s] = byte(r.take(3)) //nolint:gosec // three bits
	}
	h := &z.distance // not needed before it is built
	if err := h.build(lengths[:len(inflateOrder)], lowestFirst); err != nil {
		return err
	}
	clear(lengths[:len(inflateOrder)])
	for i := 0; i < literals+distances; {
		r.refill()
		s := r.symbol(h)
		if s < 0 {
			return damaged("MSZIP: bits that are no code")
		}
		if s < 16 {
			lengths[i] = byte(s)
			i++
			continue
		}
		var v byte
		var n int
		switch s {
		case 16:
			if i == 0 {
				return damaged("MSZIP: the first length of a code repeats the one before")
			}
			v, n = lengths[i-1], int(r.take(2))+3 //nolint:gosec // i is above zero
		case 17:
			n = int(r.take(3)) + 3
		default:
			n = int(r.take(7)) + 11
		}
		if i+n > literals+distances {
			return damaged("MSZIP: too many lengths of codes")
		}
		for range n {
			lengths[i] = v
			i++
		}
	}
	if err := z.literals.build(lengths[:literals], lowestFirst); err != nil {
		return err
	}
	return z.distance.build(lengths[literals:literals+distances], lowestFirst)
}

// block decodes literals and matches to the end of a block. The reader's state is kept in local
// variables meanwhile, which is worth a third of the time.
func (z *mszip) block(r *lsbReader, out []byte, at int) (int, error) {
	in, acc, n, p := r.b, r.acc, r.n, r.p
	for {
		if n < 48 { // as many as a match takes
			if p <= r.end {
				acc |= le.Uint64(in[p:]) << n
			}
			p += int(63-n) >> 3
			n |= 56
		}
		e := z.literals.look[acc&(1<<lookBits-1)]
		s, taken := int(e>>4), uint(e&15)
		if taken == 0 {
			s, taken = z.literals.long(uint32(bits.Reverse16(uint16(acc)))) //nolint:gosec // the low bits
		}
		acc >>= taken & 31
		n -= taken
		if uint(s) < endOfBlock {
			if at == len(out) {
				return at, damaged("MSZIP: more data than stated")
			}
			out[at] = byte(s)
			at++
			continue
		}
		if s == endOfBlock {
			r.acc, r.n, r.p = acc, n, p
			return at, nil
		}
		l := inflateLengths[(s-endOfBlock-1)&31]
		length := int(l.base) + int(acc&(1<<l.bits-1)) //nolint:gosec // at most 5 bits
		acc >>= l.bits & 31
		n -= uint(l.bits)
		e = z.distance.look[acc&(1<<lookBits-1)]
		d, taken := int(e>>4), uint(e&15)
		if taken == 0 {
			d, taken = z.distance.long(uint32(bits.Reverse16(uint16(acc)))) //nolint:gosec // the low bits
		}
		acc >>= taken & 31
		n -= taken
		far := inflateDistances[d&31]
		if s < 0 || d < 0 || l.base == 0 || far.base == 0 {
			return at, damaged("MSZIP: bits that are no code")
		}
		off := int(far.base) + int(acc&(1<<far.bits-1)) //nolint:gosec // at most 13 bits
		acc >>= far.bits & 31
		n -= uint(far.bits)
		if off > at || length > len(out)-at {
			return at, damaged("MSZIP: a match reaches outside")
		}
		if length <= 16 && off >= 8 && at+16 <= len(out) { // as copyMatch does it, without the call
			le.PutUint64(out[at:], le.Uint64(out[at-off:]))
			if length > 8 {
				le.PutUint64(out[at+8:], le.Uint64(out[at-off+8:]))
			}
		} else {
			copyMatch(out, at, off, length)
		}
		at += length
	}
}

// lsbReader gives the bits of bytes, the lowest first.
type lsbReader struct {
	b   []byte // slack bytes longer than the data
	end int    // of the data
	p   int    // of the next byte
	acc uint64 // the next bits, at the bottom; more than n may be there already
	n   uint   // how many of them count
}

// refill makes n at least 56. Beyond the end there are zeros; overrun finds them out.
func (r *lsbReader) refill() {
	if r.p <= r.end {
		r.acc |= le.Uint64(r.b[r.p:]) << r.n
	}
	bytes := (63 - r.n) / 8
	r.p += int(bytes)
	r.n += 8 * bytes
}

// take gives up to 16 bits that refill has brought.
func (r *lsbReader) take(n uint) uint32 {
	v := uint32(r.acc & (1<<n - 1)) //nolint:gosec // at most 16 bits
	r.acc >>= n
	r.n -= n
	return v
}

// symbol decodes one symbol out of bits that refill has brought; -1 is none.
func (r *lsbReader) symbol(h *huffman) int {
	e := h.look[r.acc&(1<<lookBits-1)]
	s, l := int(e>>4), uint(e&15)
	if l == 0 {
		s, l = h.long(uint32(bits.Reverse16(uint16(r.acc)))) //nolint:gosec // the low bits
	}
	r.acc >>= l
	r.n -= l
	return s
}

func (r *lsbReader) overrun() bool { return 8*r.p-int(r.n) > 8*r.end }
