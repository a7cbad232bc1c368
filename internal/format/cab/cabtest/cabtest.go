// Package cabtest makes cabinets for tests: good ones by every method that package cab reads,
// and, since all fields can be set, bad ones.
package cabtest

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"math/bits"

	"github.com/oldguard/oldguard/internal/format/cab"
)

const block = 32768 // bytes in a block

var le = binary.LittleEndian

// File is a file to be packed. Its times are all the same.
type File struct {
	Name string
	Data []byte
	Attr uint16 // 0x80 says that Name is UTF-8
}

// Folder is a run of files packed as one.
type Folder struct {
	Method cab.Method
	Window uint8 // LZX
	Kinds  []int // LZX: the kinds of its blocks in turn, 1 to 3; all three if there are none
	E8     bool  // LZX: translate calls
	Files  []File
}

// Cabinet is what Bytes writes.
type Cabinet struct {
	Folders     []Folder
	Reserve     []byte
	NoChecksums bool
}

// Stored is a cabinet with one stored folder.
func Stored(files ...File) []byte {
	return Cabinet{Folders: []Folder{{Method: cab.Stored, Files: files}}}.Bytes()
}

// Bytes writes the cabinet.
func (c Cabinet) Bytes() []byte {
	const headerLength, folderLength = 36, 8
	start := headerLength
	flags := uint16(0)
	if c.Reserve != nil {
		start += 4 + len(c.Reserve)
		flags = 4
	}
	var files, data, folders []byte
	var nFiles uint16
	list := start + folderLength*len(c.Folders)
	for i, f := range c.Folders {
		at := uint32(0)
		for _, file := range f.Files {
			nFiles++
			files = le.AppendUint32(files, uint32(len(file.Data))) //nolint:gosec // a test's own
			files = le.AppendUint32(files, at)
			files = le.AppendUint16(files, uint16(i))
			files = le.AppendUint16(files, 39<<9|4<<5|9) // 2019-04-09
			files = le.AppendUint16(files, 10<<11|30<<5|8)
			files = le.AppendUint16(files, file.Attr)
			files = append(append(files, file.Name...), 0)
			at += uint32(len(file.Data)) //nolint:gosec // a test's own
		}
	}
	for _, f := range c.Folders {
		folders = le.AppendUint32(folders, uint32(list+len(files)+len(data))) //nolint:gosec // a test's own
		packed, n := c.pack(f)
		data = append(data, packed...)
		folders = le.AppendUint16(folders, n)
		folders = le.AppendUint16(folders, uint16(f.Method)|uint16(f.Window)<<8)
	}
	out := append([]byte("MSCF"), 0, 0, 0, 0)
	out = le.AppendUint32(out, uint32(list+len(files)+len(data))) //nolint:gosec // a test's own
	out = le.AppendUint32(out, 0)
	out = le.AppendUint32(out, uint32(list)) //nolint:gosec // a test's own
	out = append(le.AppendUint32(out, 0), 3, 1)
	out = le.AppendUint16(out, uint16(len(c.Folders))) //nolint:gosec // a test's own
	out = le.AppendUint16(out, nFiles)
	out = le.AppendUint16(out, flags)
	out = append(out, 0, 0, 0, 0)
	if c.Reserve != nil {
		out = append(le.AppendUint16(out, uint16(len(c.Reserve))), 0, 0) //nolint:gosec // a test's own
		out = append(out, c.Reserve...)
	}
	return append(append(append(out, folders...), files...), data...)
}

// pack gives the blocks of a folder.
func (c Cabinet) pack(f Folder) (data []byte, blocks uint16) {
	var all []byte
	for _, file := range f.Files {
		all = append(all, file.Data...)
	}
	z := newLZX(f, len(all))
	var packed []byte
	for at := 0; at < len(all); at += block {
		end := min(at+block, len(all))
		switch again := at >= 2*block && bytes.Equal(all[at-block:end], all[at-2*block:end-block]); f.Method {
		case cab.Stored, cab.Quantum:
			packed = all[at:end]
		case cab.MSZIP:
			if !again { // many zeros are packed soon
				packed = mszip(all[max(0, at-block):at], all[at:end])
			}
		case cab.LZX:
			packed = z.frame(all, at, end)
		}
		sizes := le.AppendUint16(le.AppendUint16(nil, uint16(len(packed))), uint16(end-at)) //nolint:gosec // a test's own
		sum := checksum(sizes, checksum(packed, 0))
		if c.NoChecksums {
			sum = 0
		}
		data = le.AppendUint32(data, sum)
		data = append(append(data, sizes...), packed...)
		blocks++
	}
	return data, blocks
}

func mszip(history, data []byte) []byte {
	b := bytes.NewBufferString("CK")
	w, err := flate.NewWriterDict(b, 6, history)
	if err != nil {
		panic(err)
	}
	if _, err := w.Write(data); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func checksum(b []byte, sum uint32) uint32 {
	for ; len(b) >= 4; b = b[4:] {
		sum ^= le.Uint32(b)
	}
	for i, c := range b {
		sum ^= uint32(c) << (8 * (len(b) - 1 - i))
	}
	return sum
}

// lzx packs without cleverness: codes of one length or two, the first match that a table
// finds. It uses all kinds of blocks and all kinds of distances.
type lzx struct {
	folder  Folder
	nMain   int
	out     []byte
	acc     uint64
	n       int
	data    []byte // with calls translated
	blocks  int    // begun
	left    int    // of the block
	kind    int
	recent  [3]int
	length  map[string][]byte // of the codes before
	last    map[uint32]int    // where three bytes stood last
	indexed int
}

const lzxBlock = 20001 // odd, and crossing frames

func newLZX(f Folder, total int) *lzx {
	z := &lzx{folder: f, recent: [3]int{1, 1, 1}, length: map[string][]byte{}, last: map[uint32]int{}, data: make([]byte, 0, total)}
	if f.Method == cab.LZX {
		z.nMain = 256 + 8*[...]int{30, 32, 34, 36, 38, 42, 50}[f.Window-15]
	}
	if len(f.Kinds) == 0 {
		z.folder.Kinds = []int{1, 2, 3}
	}
	return z
}

const fileSize = 1 << 24 // what the stream says for E8

// put writes the low n bits of v.
func (z *lzx) put(v uint32, n int) {
	z.acc = z.acc<<n | uint64(v)
	for z.n += n; z.n >= 16; z.n -= 16 {
		z.out = le.AppendUint16(z.out, uint16(z.acc>>(z.n-16))) //nolint:gosec // a test's own
	}
}

func (z *lzx) align() {
	z.put(0, (16-z.n)%16)
}

// evenLengths are the lengths of n codes that use up all bits with one length or two.
func evenLengths(n int) []byte {
	l := bits.Len(uint(n - 1))
	lengths := bytes.Repeat([]byte{byte(l)}, n) //nolint:gosec // a test's own
	for i := range 1<<l - n {
		lengths[i] = byte(l - 1) //nolint:gosec // a test's own
	}
	return lengths
}

// code writes symbol s out of n codes with evenLengths.
func (z *lzx) code(s, n int) {
	l := bits.Len(uint(n - 1))
	short := 1<<l - n
	if s < short {
		z.put(uint32(s), l-1) //nolint:gosec // a test's own
	} else {
		z.put(uint32(s+short), l) //nolint:gosec // a test's own
	}
}

func (z *lzx) frame(all []byte, at, end int) []byte {
	z.out = nil
	frame := bytes.Clone(all[at:end])
	if at == 0 {
		if z.folder.E8 {
			z.put(1, 1)
			z.put(fileSize>>16, 16)
			z.put(fileSize&0xffff, 16)
		} else {
			z.put(0, 1)
		}
	}
	if z.folder.E8 {
		translate(frame, at)
	}
	z.data = append(z.data, frame...)
	for at < end {
		if z.left == 0 {
			z.begin(at, len(all))
		}
		n := min(z.left, end-at)
		if z.kind == 3 {
			z.out = append(z.out, z.data[at:at+n]...)
		} else {
			z.matches(at, at+n)
		}
		at += n
		if z.left -= n; z.left == 0 && z.kind == 3 && z.blockSize(at, len(all))&1 == 1 {
			z.out = append(z.out, 0)
		}
	}
	z.align()
	return z.out
}

// blockSize is that of the block that ends at end.
func (z *lzx) blockSize(end, total int) int {
	if end == total && total%lzxBlock != 0 {
		return total % lzxBlock
	}
	return lzxBlock
}

func (z *lzx) begin(at, total int) {
	z.left = min(lzxBlock, total-at)
	z.kind = z.folder.Kinds[z.blocks%len(z.folder.Kinds)]
	z.blocks++
	z.put(uint32(z.kind), 3)  //nolint:gosec // a test's own
	z.put(uint32(z.left), 24) //nolint:gosec // a test's own
	if z.kind == 3 {
		z.put(0, 1)
		z.align()
		for _, r := range z.recent {
			z.out = le.AppendUint32(z.out, uint32(r)) //nolint:gosec // a test's own
		}
		return
	}
	if z.kind == 2 {
		for range 8 {
			z.put(3, 3)
		}
	}
	main := evenLengths(z.nMain)
	z.lengths("main", main[:256])
	z.lengths("matches", main[256:])
	z.lengths("long", evenLengths(249))
}

func (z *lzx) lengths(of string, lengths []byte) {
	before := z.length[of]
	if before == nil {
		before = make([]byte, len(lengths))
	}
	for _, l := range evenLengths(20) {
		z.put(uint32(l), 4)
	}
	for i, l := range lengths {
		z.code((int(before[i])-int(l)+17)%17, 20)
	}
	z.length[of] = lengths
}

func (z *lzx) matches(at, end int) {
	for at < end {
		n, off := z.find(at, end)
		if n == 0 {
			z.code(int(z.data[at]), z.nMain)
			at++
			continue
		}
		class, extra, v := z.class(off)
		z.code(256+class<<3+min(n-2, 7), z.nMain)
		if n-2 >= 7 {
			z.code(n-9, 249)
		}
		if z.kind == 2 && extra >= 3 {
			z.put(uint32(v>>3), extra-3) //nolint:gosec // a test's own
			z.put(uint32(v&7), 3)
		} else {
			z.put(uint32(v), extra) //nolint:gosec // a test's own
		}
		at += n
	}
}

// find looks for a match and remembers what it passes.
func (z *lzx) find(at, end int) (n, off int) {
	key := func(i int) uint32 { return uint32(z.data[i]) | uint32(z.data[i+1])<<8 | uint32(z.data[i+2])<<16 }
	for ; z.indexed < at && z.indexed+3 <= len(z.data); z.indexed++ {
		z.last[key(z.indexed)] = z.indexed
	}
	if at+3 > end {
		return 0, 0
	}
	from, ok := z.last[key(at)]
	if off = at - from; !ok || off > 1<<z.folder.Window-3 {
		return 0, 0
	}
	for at+n < end && n < 257 && z.data[from+n] == z.data[at+n] {
		n++
	}
	return n, off
}

func (z *lzx) class(off int) (class, extra, v int) {
	for i, r := range z.recent {
		if r == off {
			z.recent[i], z.recent[0] = z.recent[0], z.recent[i]
			return i, 0, 0
		}
	}
	z.recent = [3]int{off, z.recent[0], z.recent[1]}
	base := 0
	for class = 0; ; class++ {
		if class >= 4 {
			extra = min(class/2-1, 17)
		}
		if off+2 < base+1<<extra {
			return class, extra, off + 2 - base
		}
		base += 1 << extra
	}
}

// translate makes the targets of calls absolute.
func translate(frame []byte, at int) {
	if len(frame) <= 10 {
		return
	}
	for i := 0; i < len(frame)-10; i++ {
		if frame[i] != 0xe8 {
			continue
		}
		cur, r := int32(at+i), int32(le.Uint32(frame[i+1:])) //nolint:gosec // a test's own
		switch {
		case r >= -cur && r < fileSize-cur:
			le.PutUint32(frame[i+1:], uint32(r+cur)) //nolint:gosec // a test's own
		case r >= fileSize-cur && r < fileSize:
			le.PutUint32(frame[i+1:], uint32(r-fileSize)) //nolint:gosec // a test's own
		}
		i += 4
	}
}
