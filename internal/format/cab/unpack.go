package cab

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
)

// slack is what decoders may look at beyond the end of a block; it is zero.
const slack = 16

// decoder unpacks one block after the other. in has slack zero bytes after its length within
// its capacity. What it gives is good until the next call.
type decoder interface {
	decode(in []byte, size int) ([]byte, error)
}

// unpacker reads a folder from its beginning.
type unpacker struct {
	r       *bufio.Reader
	dec     decoder
	blocks  int    // left
	block   int    // the current one, from 1
	reserve int    // bytes reserved in each block
	in      []byte // the block as packed
	out     []byte // what is left of the block, unpacked
	at      int64  // in the folder, of out
	err     error  // once damaged, damaged for ever
}

func (c *Cabinet) unpack(folder int) (*unpacker, error) {
	f := &c.Folders[folder]
	u := &unpacker{
		blocks: f.Blocks, reserve: int(c.Header.DataReserve),
		in: make([]byte, dataSize+255+maxPacked+slack),
	}
	switch f.Method {
	case Stored:
		u.dec = stored{}
	case MSZIP:
		u.dec = newMSZIP()
	case LZX:
		u.dec = newLZX(f.Window, f.Size)
	case Quantum:
		return nil, fmt.Errorf("folder %d is packed by Quantum, which this program does not read", folder)
	default:
		return nil, damaged("folder %d is packed by an unknown %s", folder, f.Method)
	}
	u.r = bufio.NewReaderSize(io.NewSectionReader(c.r, f.at, f.end-f.at), 1<<16)
	return u, nil
}

// fill unpacks the next block.
func (u *unpacker) fill() error {
	if u.err == nil {
		if u.err = u.readBlock(); u.err != nil && u.err != io.EOF { //nolint:errorlint // readBlock's own
			u.err = fmt.Errorf("block %d: %w", u.block, noEOF(u.err))
		}
	}
	return u.err
}

func (u *unpacker) readBlock() error {
	if u.blocks == 0 {
		return io.EOF
	}
	u.blocks--
	u.block++
	head := dataSize + u.reserve
	if _, err := io.ReadFull(u.r, u.in[:head]); err != nil {
		return noEOF(err)
	}
	packed, unpacked := int(le.Uint16(u.in[4:])), int(le.Uint16(u.in[6:]))
	if packed > maxPacked || unpacked > maxBlock { // the file changed after Open
		return damaged("more than a block holds")
	}
	block := u.in[head : head+packed]
	if _, err := io.ReadFull(u.r, block); err != nil {
		return noEOF(err)
	}
	if want := le.Uint32(u.in); want != 0 { // zero: its maker did not compute one
		sum := checksum(block, 0)
		// The reserved area counts for Windows and not for libmspack.
		if checksum(u.in[4:head], sum) != want && checksum(u.in[4:dataSize], sum) != want {
			return damaged("the checksum is wrong")
		}
	}
	clear(u.in[head+packed : head+packed+slack])
	out, err := u.dec.decode(block, unpacked)
	if err != nil {
		return err
	}
	u.out = out
	return nil
}

// next gives up to limit bytes, at least one.
func (u *unpacker) next(limit int64) ([]byte, error) {
	for len(u.out) == 0 {
		if err := u.fill(); err != nil {
			return nil, err
		}
	}
	b := u.out[:min(int64(len(u.out)), limit)]
	u.out = u.out[len(b):]
	u.at += int64(len(b))
	return b, nil
}

// Read is io.Reader over the rest of the folder.
func (u *unpacker) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := u.next(int64(len(p)))
	return copy(p, b), err
}

// skipTo goes forward to a place in the folder.
func (u *unpacker) skipTo(at int64) error {
	for u.at < at {
		if _, err := u.next(at - u.at); err != nil {
			return noEOF(err)
		}
	}
	return nil
}

// checksum is the XOR of the words of b; the bytes of an incomplete word at the end come in
// the other order. [MS-CAB] 3.1.
func checksum(b []byte, sum uint32) uint32 {
	var x uint64
	for len(b) >= 32 {
		x ^= le.Uint64(b) ^ le.Uint64(b[8:]) ^ le.Uint64(b[16:]) ^ le.Uint64(b[24:])
		b = b[32:]
	}
	for len(b) >= 8 {
		x ^= le.Uint64(b)
		b = b[8:]
	}
	sum ^= uint32(x) ^ uint32(x>>32)
	if len(b) >= 4 {
		sum ^= le.Uint32(b)
		b = b[4:]
	}
	var last [4]byte
	copy(last[4-len(b):], b)
	return sum ^ binary.BigEndian.Uint32(last[:])
}

type stored struct{}

func (stored) decode(in []byte, size int) ([]byte, error) {
	if len(in) != size {
		return nil, damaged("%d bytes are stored as %d", size, len(in))
	}
	return in, nil
}

// copyMatch repeats, at at, n bytes that lie off before; off and n are at least one, and
// everything lies in b. The decoders copy up to 16 bytes by themselves where they can: as one or
// two words, which write over up to 15 bytes that are to come.
func copyMatch(b []byte, at, off, n int) {
	end := at + n
	for from := at - off; at < end; {
		at += copy(b[at:end], b[from:at])
	}
}

// huffman decodes canonical codes of up to 16 bits. A table serves the first lookBits; what is
// longer is rare, and goes by comparison.
type huffman struct {
	look    [1 << lookBits]uint16 // symbol<<4 | length; 0 if longer
	symbols [maxSymbols]uint16    // in the order of their codes
	limit   [17]uint32            // the first code beyond length l, left-aligned to 16 bits
	offset  [17]int32             // index in symbols of code 0 of length l, were there one
	empty   bool
}

const (
	lookBits   = 11
	maxSymbols = 256 + 8*50
)

// bitOrder says which bit of a byte or word comes first.
type bitOrder bool

const (
	highestFirst bitOrder = false
	lowestFirst  bitOrder = true
)

// build takes the lengths of the codes, which go into the table in the given order. The codes
// must be all that there can be. There may be none, or, as Deflate has it for its lowest bit
// first, a single one of one bit.
func (h *huffman) build(lengths []byte, order bitOrder) error {
	var count, index [17]int
	for _, l := range lengths {
		count[l]++
	}
	count[0] = 0
	code, n := uint32(0), 0 // code is left-aligned to 16 bits
	for l := 1; l <= 16; l++ {
		index[l] = n
		h.offset[l] = int32(n) - int32(code>>(16-l)) //nolint:gosec // at most 656
		n += count[l]
		code += uint32(count[l]) << (16 - l) //nolint:gosec // at most 656
		h.limit[l] = code
		if code > 1<<16 {
			return damaged("too many codes")
		}
	}
	h.empty = n == 0
	if single := order == lowestFirst && n == 1 && count[1] == 1; code != 1<<16 && !h.empty && !single {
		return damaged("codes that nothing uses")
	}
	for s, l := range lengths {
		if l != 0 {
			h.symbols[index[l]] = uint16(s)
			index[l]++
		}
	}
	clear(h.look[:])
	at := uint(0) // the code, left-aligned to lookBits
	for _, s := range h.symbols[:n] {
		l := uint(lengths[s])
		if l > lookBits {
			break
		}
		entry := s<<4 | uint16(l)
		if order == lowestFirst {
			for i := uint(bits.Reverse64(uint64(at)) >> (64 - lookBits)); i < 1<<lookBits; i += 1 << l {
				h.look[i] = entry
			}
		} else {
			for i := range uint(1) << (lookBits - l) {
				h.look[at+i] = entry
			}
		}
		at += 1 << (lookBits - l)
	}
	return nil
}

// long finds a code that the table does not have, by its first 16 bits, the highest first. The
// symbol is -1 if there is no such code.
func (h *huffman) long(code uint32) (symbol int, length uint) {
	for l := uint(1); l <= 16; l++ {
		if code < h.limit[l] {
			return int(h.symbols[h.offset[l]+int32(code>>(16-l))]), l //nolint:gosec // below 1<<16
		}
	}
	return -1, 0
}

// bitReader gives the bits of little-endian 16-bit words, the highest first.
type bitReader struct {
	b   []byte // slack bytes longer than the data
	end int    // of the data
	p   int    // of the next word
	acc uint64 // the next bits, at the top; more than n may be there already
	n   uint   // how many of them count
}

// refill makes n at least 49. Beyond the end there are zeros; overrun finds them out.
func (r *bitReader) refill() {
	if r.p <= r.end {
		r.acc |= words(r.b[r.p:]) >> r.n
	}
	n := (64 - r.n) / 16
	r.p += int(2 * n)
	r.n += 16 * n
}

// words gives four words, the first at the top.
func words(b []byte) uint64 {
	x := bits.RotateLeft64(le.Uint64(b), 32)
	return x&0x0000ffff0000ffff<<16 | x>>16&0x0000ffff0000ffff
}

// take gives up to 32 bits.
func (r *bitReader) take(n uint) uint32 {
	if r.n < n {
		r.refill()
	}
	v := uint32(r.acc >> 32 >> (32 - n)) //nolint:gosec // at most 32 bits
	r.acc <<= n
	r.n -= n
	return v
}

// symbol decodes one symbol of a code that is not empty.
func (r *bitReader) symbol(h *huffman) int {
	if r.n < 16 {
		r.refill()
	}
	e := h.look[r.acc>>(64-lookBits)]
	s, l := int(e>>4), uint(e&15)
	if l == 0 {
		s, l = h.long(uint32(r.acc >> 48))
	}
	r.acc <<= l
	r.n -= l
	return s
}

// overrun reports whether bits were taken that are not there. Encoders are sparing with the
// last word.
func (r *bitReader) overrun() bool { return 8*r.p-int(r.n) > 8*r.end+16 }
